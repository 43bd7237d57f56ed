"""Clients that send nonsense, too much, too slowly, or leave."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from .clients import CLIENTS
from .crafted import ODD_VALUES, short
from .fixtures import GGUF, Fixtures
from .forks import Case
from .outcome import DIFFERENT, FOREIGN, HANG, OK, Outcome, SlowError, TracebackError, judged
from .server import Server, check_log, in_threads, serving, stop, watched

PRELOAD: tuple[str, ...] = ()
MIB = 1 << 20
FIELDS = ("input", "model", "dimensions", "encoding_format", "user", "prompt_name", "x")
RAW, BODIES = 300, 400  # random requests
AT_ONCE, ASKED = 100, 10


def cases(fixtures: Fixtures) -> Iterator[Case]:
    """All of the area."""
    bundle = fixtures.bundle(GGUF)
    yield Case("odd fields", partial(_each, bundle, list(_odd_fields())), 90)
    yield Case("random bodies", partial(_each, bundle, list(_random_bodies())), 90)
    yield Case("random bytes", partial(_raw, bundle), 90)
    for name, body in _large_bodies().items():
        yield Case(f"a body of {name}", partial(_large, bundle, body), 40)
    for name, misbehave in CLIENTS.items():
        yield Case(name, partial(_client, bundle, misbehave), 40)
    yield Case(f"{AT_ONCE * ASKED} requests, {AT_ONCE} at once", partial(_many, bundle), 60)
    for name in ("SIGINT", "SIGTERM"):
        yield Case(f"{name} twice while requests wait", partial(_twice, bundle, getattr(signal, name)), 40)


def _each(bundle: Path, bodies: list[tuple[str, bytes]], scratch: Path) -> list[Outcome]:
    """One request after another to one server."""
    found = []
    with serving(bundle, scratch / "log") as server:
        for name, body in bodies:
            try:
                status, answer = server.ask("POST", "/v1/embeddings", body)
                good = status == 200 or (400 <= status < 500 and "error" in json.loads(answer))
                found.append(Outcome(name, OK if good else FOREIGN, "" if good else f"status {status}"))
            except TimeoutError:
                found.append(Outcome(name, HANG, "no answer"))
            except (OSError, ValueError, http.client.HTTPException) as error:
                found.append(Outcome(name, FOREIGN, f"no answer: {type(error).__name__}"))
        try:
            server.check()
        except Exception as error:
            found.append(judged("the server after them", error))
    return found


def _odd_fields() -> Iterator[tuple[str, bytes]]:
    whole: dict[str, Any] = {"model": "tiny", "input": ["x", "y"]}
    values = (*ODD_VALUES, ["\ud800"], [""], ["x" * 5000], [[0]], [[2**40]], [[-1]], [[1.5]], [None], ["x", 1], [{}])
    for field in FIELDS:
        for value in values:
            text = json.dumps(whole | {field: value})
            yield f"{field} = {short(value)}", text.encode("utf-8", "surrogatepass")
    for text in (
        "",
        "{",
        "[]",
        "null",
        "NaN",
        "1e999",
        "[" * 5000,
        '{"input": "x", "input": 1}',
        "\ufeff{}",
        "9" * 9999,
    ):
        yield f"body {short(text)}", text.encode()
    for raw in (b"\xff\xfe", b"\0", b'{"input": "\xc3\x28"}', b'{"input": "\xed\xa0\x80", "model": "tiny"}'):
        yield f"body {raw[:12]!r}", raw


def _random_bodies() -> Iterator[tuple[str, bytes]]:
    draw = random.Random(9)
    whole = json.dumps({"model": "tiny", "input": ["x", "def f(): pass"], "dimensions": 8, "user": "u"}).encode()
    for number in range(BODIES):
        body = bytearray(whole)
        for _ in range(draw.choice((1, 2, 5))):
            place = draw.randrange(len(body))
            body[place : place + draw.randrange(3)] = draw.randbytes(draw.randrange(3))
        yield f"random body {number}", bytes(body)


def _raw(bundle: Path, scratch: Path) -> list[Outcome]:
    """Requests that are no HTTP, or nearly so; an answer or a closed connection is all that is due."""
    body = b'{"model": "tiny", "input": "x"}'
    whole = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    draw = random.Random(10)
    found = []
    with serving(bundle, scratch / "log") as server:
        for number in range(RAW):
            raw = bytearray(whole)
            for _ in range(draw.choice((1, 2, 5))):
                place = draw.randrange(len(raw))
                raw[place : place + draw.randrange(3)] = draw.randbytes(draw.randrange(3))
            with socket.create_connection((server.host, server.port), 5) as connection:
                connection.sendall(raw)
                connection.shutdown(socket.SHUT_WR)
                try:
                    answer = connection.recv(9999)
                    fine = not answer or (answer.startswith(b"HTTP/1.1 ") and not answer.startswith(b"HTTP/1.1 500"))
                    found.append(
                        Outcome(f"random bytes {number}", OK if fine else FOREIGN, answer[:12].decode("latin-1"))
                    )
                except ConnectionError:
                    found.append(Outcome(f"random bytes {number}", OK))
                except TimeoutError:
                    found.append(Outcome(f"random bytes {number}", HANG, "no answer"))
        try:
            server.check()
        except Exception as error:
            found.append(judged("the server after random bytes", error))
    return found


def _large_bodies() -> dict[str, bytes]:
    size = 7 * MIB
    keys = ", ".join(f'"{i:x}": 0' for i in range(size // 12))
    return {
        "7 MiB of keys": f"{{{keys}}}".encode(),
        "7 MiB of one key": ("{" + ", ".join(['"x": 0'] * (size // 8)) + "}").encode(),
        "7 MiB of empty lists": b'{"input": [' + b"[]," * (size // 3) + b"[]]}",
        "7 MiB of empty objects": b'{"input": [' + b"{}," * (size // 3) + b"{}]}",
        "7 MiB of nested lists": b'{"input": ' + b"[" * (size // 2) + b"]" * (size // 2) + b"}",
        "lists nested 900 deep": b'{"input": [' + (b"[" * 900 + b"]" * 900 + b",") * (size // 1801) + b"1]}",
        "7 MiB of numbers": b'{"input": [' + b"1," * (size // 2) + b"1]}",
        "7 MiB of long numbers": b'{"input": [' + b"1234567890123456," * (size // 17) + b"1]}",
        "7 MiB of one number": b'{"input": ' + b"9" * size + b"}",
        "7 MiB of short texts": b'{"model": "tiny", "input": [' + b'"x",' * (size // 4) + b'"x"]}',
        "7 MiB in one text": b'{"model": "tiny", "input": "' + b"x" * size + b'"}',
        "7 MiB of escapes": b'{"model": "tiny", "input": "' + b"\\u00e9" * (size // 6) + b'"}',
        "7 MiB in 2,000 texts": json.dumps({"model": "tiny", "input": ["x " * 1750] * 2000}).encode(),
        "7 MiB of spaces": b" " * size,
        "50 MB": b"x" * 50_000_000,
    }


def _large(bundle: Path, body: bytes, scratch: Path) -> None:
    with serving(bundle, scratch / "log") as server:
        server.check()
        with watched(server):
            status, _ = server.ask("POST", "/v1/embeddings", body)
        if not (status == 200 or 400 <= status < 500):
            raise TracebackError(f"status {status}")
        server.check()


def _client(bundle: Path, misbehave: Callable[[Server], None], scratch: Path) -> None:
    with serving(bundle, scratch / "log") as server:
        server.check()
        with watched(server):
            misbehave(server)
        server.check()
        stop(server, 10)
        check_log(server.log)


def _many(bundle: Path, scratch: Path) -> list[Outcome]:
    found: list[Outcome] = []

    def client(number: int) -> None:
        for turn in range(ASKED):
            name = f"client {number}, request {turn}"
            try:
                status, _ = server.embed({"input": [f"def f{number}_{turn}(): pass"]})
                found.append(Outcome(name, OK if status == 200 else DIFFERENT, f"status {status}"))
            except OSError as error:
                found.append(Outcome(name, DIFFERENT, type(error).__name__))

    with serving(bundle, scratch / "log") as server:
        in_threads(AT_ONCE, client)
        server.check()
    return found


def _twice(bundle: Path, signalled: signal.Signals, scratch: Path) -> None:
    """Requests that wait are answered or refused, never failed, and no traceback is left."""
    statuses: list[int] = []

    def client(number: int) -> None:
        try:
            statuses.append(server.embed({"input": [f"{number} {i} " + "x " * 400 for i in range(200)]})[0])
        except (OSError, http.client.HTTPException):
            statuses.append(0)  # the connection was closed

    def signals(number: int) -> None:
        if number == 8:
            for _ in range(2):
                time.sleep(0.7)
                os.kill(server.process.pid, signalled)
        else:
            client(number)

    with serving(bundle, scratch / "log") as server:
        in_threads(9, signals)
        try:
            server.process.wait(10)
        except subprocess.TimeoutExpired:
            raise SlowError("two signals do not stop it") from None
    if any(status >= 500 and status != 503 for status in statuses):
        raise TracebackError("status 500")
    check_log(scratch / "log")
