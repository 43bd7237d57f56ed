"""Connections: their duration and number, and the names that the server accepts."""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import statistics
import time

import httpx
import pytest

from c2llm_lite.serve import limits
from c2llm_lite.serve.connection import most_connections
from c2llm_lite.serve.log_limit import OncePerMinute

HALF = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-"

# Runs the command where a process may open 300 files.
FEW_FILES = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (300, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
sys.argv = ["c2llm-lite", *sys.argv[1:]]
runpy.run_module("c2llm_lite", run_name="__main__")
"""


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def all_of(raw):
    """What comes until the server closes the connection."""
    with raw.makefile("rb") as file:
        return file.read()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(limits, "HEADER_SECONDS", 0.5)


def test_half_a_header_is_408_and_silence_is_closed(here, quick, until):
    server = here()
    with connect(server) as half, connect(server) as silent:
        half.sendall(HALF)
        answer = all_of(half)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b'"error"' in answer
        assert all_of(silent) == b""
    until(lambda: not server.server.server_state.connections)


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"", b"G"),
        (b"", b"\r\n"),
        # An answer, and then half of the next request.
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"G"),
        # An answer before the body has come.
        (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", b"x"),
    ],
)
def test_drops_do_not_keep_a_connection_open(here, quick, first, drop):
    server = here()
    with connect(server) as raw:
        raw.sendall(first)
        if first:
            assert raw.recv(1000).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() < began + 10:
                raw.sendall(drop)
                time.sleep(0.05)
        assert time.monotonic() - began < 5


def test_a_connection_that_works_or_waits_for_an_answer_is_not_closed(here, quick, until):
    server = here()
    server.model.gate.clear()
    with httpx.Client(base_url=server.url, timeout=20) as client, connect(server) as waiting:
        waiting.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 32\r\n\r\n"
            b'{"model": "model", "input": "x"}'
        )
        until(lambda: server.model.batches)
        assert client.get("/healthz").status_code == 200
        ours = len(server.server.server_state.connections)
        time.sleep(1)
        assert client.get("/healthz").status_code == 200
        assert len(server.server.server_state.connections) == ours == 2
        server.model.gate.set()
        assert waiting.recv(100).startswith(b"HTTP/1.1 200")


def test_beyond_the_limit_a_connection_is_503(here, until, caplog):
    server = here(connections=3)
    with contextlib.ExitStack() as opened:
        for _ in range(3):
            opened.enter_context(connect(server))
        until(lambda: len(server.server.server_state.connections) == 3)
        for _ in range(5):
            refused = httpx.get(f"{server.url}/healthz")
            assert refused.status_code == 503
            assert refused.headers["Retry-After"]
            assert refused.json()["error"]["code"] == "server_busy"
    until(lambda: not server.server.server_state.connections)
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    assert len([record for record in caplog.records if "refused" in record.getMessage()]) == 1


def test_more_connections_than_file_descriptors(launch, until):
    server = launch(before=("-c", FEW_FILES))
    host, port = server.url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as opened:
        for _ in range(400):
            raw = opened.enter_context(socket.create_connection((host, int(port)), timeout=20))
            raw.sendall(HALF)
        for _ in range(20):
            assert httpx.get(f"{server.url}/healthz", timeout=20).status_code == 503
        assert server.process.poll() is None
    until(lambda: httpx.get(f"{server.url}/healthz", timeout=20).status_code == 200)
    assert httpx.post(f"{server.url}/v1/embeddings", json={"model": "small", "input": "x"}).status_code == 200
    assert server.stop() == 0
    assert server.log.count("refused a connection") == 1
    assert "Traceback" not in server.log


def test_the_limit_is_below_the_descriptors(monkeypatch):
    resource = pytest.importorskip("resource")
    for allowed in (256, 1024, 1_000_000, resource.RLIM_INFINITY, 20):
        monkeypatch.setattr(resource, "getrlimit", lambda _, allowed=allowed: (allowed, allowed))
        most = most_connections()
        assert 1 <= most <= limits.CONNECTIONS
        if allowed in (256, 1024):
            assert most < allowed - limits.BACKLOG - limits.REFUSED


def test_a_kept_connection_answers_as_quickly_as_a_new_one(server):
    """With Nagle's algorithm an answer on a kept connection waits 40 ms for an acknowledgement."""
    address = server.url.removeprefix("http://")

    def seconds(connection):
        began = time.perf_counter()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        return time.perf_counter() - began

    kept = http.client.HTTPConnection(address, timeout=20)
    seconds(kept)
    times = [(seconds(kept), seconds(http.client.HTTPConnection(address, timeout=20))) for _ in range(15)]
    on_kept, on_new = map(statistics.median, zip(*times, strict=True))
    assert on_kept < 3 * on_new


def status(server, host):
    return httpx.get(f"{server.url}/healthz", headers={"Host": host}).status_code


def test_on_loopback_only_its_own_names_are_answered(launch):
    server = launch("--allow-host", "Embeddings.Example.com")
    for host in (
        "localhost",
        "LOCALHOST:9000",
        "127.0.0.1:1",
        "[::1]",
        "[::1]:80",
        "localhost.",
        "embeddings.example.com",
    ):
        assert status(server, host) == 200, host
    for host in (
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "",
        "[::2]",
        "::1:80",
    ):
        assert status(server, host) == 421, host
    for path in ("/v1/models", "/metrics", "/openapi.json", "/nowhere"):
        refused = httpx.get(f"{server.url}{path}", headers={"Host": "evil.example"})
        assert refused.status_code == 421
        assert "--allow-host" in refused.json()["error"]["message"]


def test_without_the_option_another_name_is_refused_on_loopback(server):
    assert status(server, "localhost") == 200
    assert status(server, "embeddings.example.com") == 421


@pytest.mark.parametrize(("options", "other"), [((), 200), (("--allow-host", "ours"), 421)])
def test_elsewhere_any_name_is_answered_unless_some_are_given(launch, options, other):
    server = launch("--host", "0.0.0.0", *options)
    assert status(server, "ours") == 200
    assert status(server, "localhost") == 200
    assert status(server, "other") == other


def test_a_kind_of_log_line_is_written_once_a_minute(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    once = OncePerMinute()

    def written(message, *values, exc_info=None):
        record = logging.LogRecord("a", logging.WARNING, "", 0, message, values, exc_info)
        return record.getMessage() if once.filter(record) else None

    assert written("refused %d", 1) == "refused 1"
    assert written("refused %d", 2) is None
    assert written("another") == "another"
    assert written("refused %d", 3, exc_info=(OSError, None, None)) == "refused 3"
    now[0] += 59
    assert written("refused %d", 4) is None
    now[0] += 2
    assert written("refused %d", 5) == "refused 5 (2 more like this since the last one)"
    now[0] += 61
    assert written("refused %d", 6) == "refused 6"
