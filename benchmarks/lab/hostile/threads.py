"""Threads, forks, copies, and calls after close(), with each engine."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import c2llm_lite
from c2llm_lite.embedder import Embedder

from .crafted import TOLERANCE
from .fixtures import GGUF, OPENVINO, TORCH, Fixtures
from .forks import Case
from .outcome import DifferentError, SlowError, is_ours
from .tiny import HIDDEN, TEXTS

PRELOAD: tuple[str, ...] = ("llama_cpp.llama_cpp", "openvino", "openvino._offline_transformations", "torch")
PRELOAD += ("transformers", "transformers.models.qwen2.modeling_qwen2")


def cases(fixtures: Fixtures) -> Iterator[Case]:
    """All of the area."""
    for target in (GGUF, OPENVINO, TORCH):
        for name, misuse in MISUSES.items():
            yield Case(f"{target}: {name}", partial(misuse, fixtures, target), 25)


def _same(found: Any, fixtures: Fixtures, target: str) -> None:
    right = fixtures.vectors(target)
    if found.shape != right.shape or not np.allclose(found, right, atol=TOLERANCE):
        raise DifferentError("other vectors")


def _model(fixtures: Fixtures, target: str) -> Embedder:
    return c2llm_lite.load(fixtures.bundle(target), threads=1, cache=False)


def _after_close(fixtures: Fixtures, target: str, scratch: Path) -> None:
    del scratch
    model = _model(fixtures, target)
    model.close()
    model.close()
    for call in (
        lambda: model.embed("x"),
        model.info,
        lambda: list(model.states("x")),
        lambda: model.embed_tokens([[1]]),
    ):
        try:
            call()
        except ValueError:
            continue
        raise DifferentError("a closed model answers")


def _eight_threads(fixtures: Fixtures, target: str, scratch: Path) -> None:
    del scratch
    found: list[Any] = []
    with _model(fixtures, target) as model:
        threads = [
            threading.Thread(target=lambda: found.extend(model.embed(TEXTS) for _ in range(10))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if len(found) != 80:
        raise DifferentError("a thread failed")
    for vectors in found:
        _same(vectors, fixtures, target)


def _closed_amid(fixtures: Fixtures, target: str, scratch: Path) -> None:
    """close() while other threads embed: they end with an error of ours."""
    del scratch
    model = _model(fixtures, target)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            while True:
                model.embed(TEXTS)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    model.close()
    for thread in threads:
        thread.join()
    raise errors[0]


def _states_left_open(fixtures: Fixtures, target: str, scratch: Path) -> None:
    """states() begun and not ended, and then embed()."""
    del scratch
    with _model(fixtures, target) as model:
        begun = model.states(TEXTS[0] * 200)
        next(begun)
        done: list[Any] = []
        thread = threading.Thread(target=lambda: done.append(model.embed(TEXTS)), daemon=True)
        thread.start()
        thread.join(5)
        if not done:
            raise SlowError("embed() waits for states() without end")
        _same(done[0], fixtures, target)


def _in_child(work: Callable[[], object], seconds: float) -> None:
    """Run `work` in a fork of this process; raises as it ended."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except DifferentError:
            os._exit(5)
        except BaseException as error:
            os._exit(0 if is_ours(error) else 4)
        os._exit(0)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            if code < 0:
                os.kill(os.getpid(), -code)  # as it died
            if code == 4:
                raise RuntimeError("a foreign exception in the child")
            if code == 5:
                raise DifferentError("other vectors in the child")
            return
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise SlowError("the child hangs")


def _forked(fixtures: Fixtures, target: str, scratch: Path) -> None:
    """A fork of a process that has embedded: the child gives the right vectors, or refuses."""
    del scratch
    with _model(fixtures, target) as model:
        model.embed(TEXTS)
        _in_child(lambda: _same(model.embed(TEXTS), fixtures, target), 8)
        _same(model.embed(TEXTS), fixtures, target)


def _forked_amid(fixtures: Fixtures, target: str, scratch: Path) -> None:
    """A fork while another thread embeds."""
    del scratch
    model = _model(fixtures, target)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            model.embed(TEXTS)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(5):
            time.sleep(0.05)
            _in_child(lambda: _same(model.embed(TEXTS), fixtures, target), 3)
    finally:
        stop.set()
        thread.join()


def _forked_to_load(fixtures: Fixtures, target: str, scratch: Path) -> None:
    """A fork of a process that has embedded, which loads a model of its own."""
    del scratch
    with _model(fixtures, target) as model:
        model.embed(TEXTS)

        def work() -> None:
            with _model(fixtures, target) as own:
                _same(own.embed(TEXTS), fixtures, target)

        _in_child(work, 15)


def _pickled(fixtures: Fixtures, target: str, scratch: Path) -> None:
    del scratch
    with _model(fixtures, target) as model, pickle.loads(pickle.dumps(model)) as twin:
        _same(twin.embed(TEXTS), fixtures, target)


def _copied(fixtures: Fixtures, target: str, scratch: Path) -> None:
    del scratch
    with _model(fixtures, target) as model, copy.deepcopy(model) as twin:
        _same(twin.embed(TEXTS), fixtures, target)


def _failing_texts(fixtures: Fixtures, target: str, scratch: Path) -> None:
    """A generator that raises: its own error comes out, and the model continues."""
    del scratch

    def texts() -> Iterator[str]:
        yield "x"
        raise InterruptedError

    with _model(fixtures, target) as model:
        try:
            model.embed(texts())
            raise DifferentError("the error is lost")
        except InterruptedError:
            pass
        _same(model.embed(TEXTS), fixtures, target)


def _width(fixtures: Fixtures, target: str, scratch: Path) -> None:
    """Every dim from 1 to the model's, then one text of all lengths in one call."""
    del scratch
    with _model(fixtures, target) as model:
        for dim in (1, 2, HIDDEN - 1, HIDDEN):
            if model.embed(TEXTS, dim=dim).shape != (len(TEXTS), dim):
                raise DifferentError(f"dim={dim}")
        lengths = [1, 2, 255, 256, 257, 511, 512, 513, 1025, 3000]
        together = model.embed(["x " * n for n in lengths])
        for row, n in zip(together, lengths, strict=True):
            if not np.allclose(row, model.embed("x " * n), atol=5e-3):
                raise DifferentError("another vector in company")


MISUSES: dict[str, Callable[[Fixtures, str, Path], None]] = {
    "calls after close()": _after_close,
    "eight threads": _eight_threads,
    "close() while others embed": _closed_amid,
    "embed() while states() is open": _states_left_open,
    "embed() in a fork": _forked,
    "embed() in a fork while a thread embeds": _forked_amid,
    "load() in a fork": _forked_to_load,
    "pickle": _pickled,
    "deepcopy": _copied,
    "texts that raise": _failing_texts,
    "widths and lengths": _width,
}
