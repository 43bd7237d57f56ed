"""Servers to test: the command in its own process, and the application in this one over a model that can wait."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import httpx
import numpy as np
import pytest

from c2llm_lite.errors import TextError
from c2llm_lite.serve.app import Service
from c2llm_lite.serve.keys import Keys
from c2llm_lite.serve.request import Offer
from c2llm_lite.serve.server import Server

WIDTH = 8


class Process:
    """`c2llm-lite serve` as a user runs it. url: without /v1. log: all that it wrote."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file)
        self.url = self._address()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def _address(self) -> str:
        for _ in range(1200):
            for line in self.log.splitlines():
                if " at http://" in line:
                    return line.split(" at ")[1].removesuffix("/v1")
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.process.kill()
        raise AssertionError(self.log)


@pytest.fixture(scope="session")
def launch(f32_bundle: Path, tmp_path_factory: Any) -> Iterator[Callable[..., Process]]:
    """Starts the command on the small bundle; a name, "small", unless --name says otherwise."""
    running = []

    def launch(*options: Any, before: Sequence[str] = ("-m", "c2llm_lite")) -> Process:
        words = [sys.executable, *before, "serve", f32_bundle, "--port", 0, "--threads", 1, "--name", "small", *options]
        running.append(Process([str(word) for word in words], tmp_path_factory.mktemp("serve") / "log"))
        return running[-1]

    yield launch
    for process in running:
        process.process.kill()
        process.process.wait()


@pytest.fixture(scope="session")
def server(launch: Callable[..., Process]) -> Process:
    return launch()


class Model:
    """Embedder's face, one token a character, a vector of what the ids are. gate: closed, batches wait.

    batches: what was run. failure: raised in place of vectors.
    """

    dim = WIDTH
    max_tokens = 100
    prompts: ClassVar = {"query": "q:", "document": "d:"}

    def __init__(self) -> None:
        self.bundle = SimpleNamespace(path=lambda name: Path(__file__))
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[list[list[int]]] = []
        self.failure: Exception | None = None

    def tokenize(self, texts: Sequence[str], *, prompt: str = "", first_index: int = 0, cut: bool = True) -> Any:
        ids = [[ord(character) % 1000 for character in prompt + text] for text in texts]
        for i, tokens in enumerate(ids, first_index):
            if len(tokens) > self.max_tokens and not cut:
                raise TextError(f"text {i} is too long")
        return [tokens[: self.max_tokens] for tokens in ids]

    def embed_tokens(self, batch: Sequence[Sequence[int]], *, prompt: str = "") -> Any:
        self.batches.append([list(ids) for ids in batch])
        assert self.gate.wait(30)
        if self.failure:
            raise self.failure
        return np.array([vector(ids) for ids in batch], np.float32)

    def full_batch(self, prompt: str = "") -> tuple[int, int]:
        return len(prompt), 64

    @property
    def texts_run(self) -> list[str]:
        return ["".join(map(chr, ids)) for batch in self.batches for ids in batch]


def vector(ids: Sequence[int]) -> Any:
    return np.random.default_rng(list(ids)).standard_normal(WIDTH)


class Here:
    """The application under uvicorn, in a thread of this process."""

    def __init__(
        self, model: Model, keys: Sequence[str], token_ids: bool, connections: int | None, **settings: Any
    ) -> None:
        self.model = model
        offer = Offer("model", WIDTH, model.prompts, 1000, model.max_tokens, token_ids)
        self.service = Service(model, offer, keys=Keys(list(keys)), **{"queue_tokens": 1000} | settings)
        self.server = Server(self.service, connections=connections)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self._thread = threading.Thread(target=self.server.run, args=([listener],))
        self._thread.start()
        until(lambda: self.server.started)
        self.url = f"http://127.0.0.1:{self.port}"

    def post(self, **fields: Any) -> httpx.Response:
        body = {"model": "model", "input": "text"} | fields
        return httpx.post(f"{self.url}/v1/embeddings", json=body, timeout=30)

    def stop(self) -> None:
        self.model.gate.set()
        self.server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture
def here() -> Iterator[Callable[..., Here]]:
    """Starts the application in this process."""
    with contextlib.ExitStack() as opened:

        def start(
            *, keys: Sequence[str] = (), token_ids: bool = False, connections: int | None = None, **settings: Any
        ) -> Here:
            started = Here(Model(), keys, token_ids, connections, **settings)
            opened.callback(started.stop)
            return started

        yield start


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for what other threads do."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., None]:
    return until
