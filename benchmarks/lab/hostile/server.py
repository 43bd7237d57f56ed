"""A server in its own process, and its behavior toward misbehaving clients: responses, tracebacks, memory, delays."""

from __future__ import annotations

import http.client
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...bench.hardware import memory
from .outcome import DifferentError, SlowError, TracebackError

NAME = "tiny"
# Shorter than the server's own, so that a case does not wait for half a minute.
LIMITS = {"SEND_SECONDS": 1.0, "BODY_SECONDS": 2.0}
START = (
    "import sys; from c2llm_lite.serve import limits; "
    f"[setattr(limits, name, value) for name, value in {LIMITS!r}.items()]; "
    "from c2llm_lite.cli import main; main()"
)
HEALTH_SECONDS = 1.0  # that others may wait, whatever one client sends
HEALTH_EVERY = 0.05
COMMAND_MEMORY = 1 << 30
MEMORY = 128 << 20  # bytes that one client may cost: its body of 8 MiB, decoded and parsed, is less


@dataclass(frozen=True)
class Server:
    """A running server. log: what it writes."""

    host: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """Status and body of one request on a connection of its own."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=8)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def embed(self, fields: dict[str, Any], **headers: str) -> tuple[int, bytes]:
        """POST /v1/embeddings with these fields beside the model's name."""
        return self.ask("POST", "/v1/embeddings", json.dumps({"model": NAME} | fields).encode(), **headers)

    def check(self) -> None:
        """Raises where the server has died, logged a traceback, or no longer embeds."""
        if self.process.poll() is not None:
            raise TracebackError(f"the server ended with {self.process.returncode}")
        check_log(self.log)
        if self.embed({"input": "x"})[0] != 200:
            raise DifferentError("the server no longer embeds")


def check_command(log: Path) -> None:
    """As check_log, of a command that has ended; SlowError if it took what was there of memory."""
    if resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10 > COMMAND_MEMORY:
        raise SlowError(f"over {COMMAND_MEMORY >> 20} MiB")
    check_log(log)


def check_log(log: Path) -> None:
    """Raises TracebackError if a command's output holds a traceback."""
    lines = log.read_text(errors="replace").splitlines()
    if any("Traceback (most recent call last)" in line for line in lines):
        named = [line.partition(":")[0].strip(" │") for line in lines if line[:1].isalpha() and "Error" in line]
        raise TracebackError(named[-1].rpartition(".")[2][:40] if named else "a traceback")


def command(bundle: Path, *options: object) -> list[str]:
    """`c2llm-lite serve` on a free port, with this module's LIMITS."""
    words = ("serve", bundle, "--port", 0, "--threads", 1, "--name", NAME, *options)
    return [sys.executable, "-c", START, *map(str, words)]


@contextmanager
def serving(bundle: Path, log: Path, *options: object) -> Iterator[Server]:
    """A server until the block ends."""
    with log.open("wb") as file, subprocess.Popen(command(bundle, *options), stdout=file, stderr=file) as process:
        try:
            while " at http://" not in (told := log.read_text(errors="replace")):
                if process.poll() is not None:
                    raise TracebackError("the server did not start")
                time.sleep(0.02)
            host, _, port = told.split(" at http://")[1].split("/v1")[0].rpartition(":")
            yield Server(host, int(port), process, log)
        finally:
            process.kill()


@contextmanager
def watched(server: Server) -> Iterator[None]:
    """Raises SlowError if others wait too long, or the server takes too much memory, while the block runs."""
    before = memory("VmRSS", server.process.pid)
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # VmHWM counts from here
    waits: list[float] = []
    done = threading.Event()
    watching = threading.Thread(target=_watch, args=(server, waits, done))
    watching.start()
    try:
        yield
    finally:
        done.set()
        watching.join()
    if max(waits, default=0) > HEALTH_SECONDS:
        raise SlowError("others wait over 1 s")
    if memory("VmHWM", server.process.pid) - before > MEMORY:
        raise SlowError(f"over {MEMORY >> 20} MiB")


def _watch(server: Server, waits: list[float], done: threading.Event) -> None:
    while not done.is_set():
        started = time.monotonic()
        try:
            server.ask("GET", "/healthz")
        except OSError:
            if server.process.poll() is not None:
                return
        waits.append(time.monotonic() - started)
        time.sleep(HEALTH_EVERY)


def in_threads(count: int, work: Callable[[int], object]) -> None:
    """Run work(0) to work(count - 1) at once."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def stop(server: Server, seconds: float) -> None:
    """SIGTERM. Raises SlowError if it is not enough."""
    os.kill(server.process.pid, signal.SIGTERM)
    try:
        server.process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise SlowError("SIGTERM does not stop it") from None
