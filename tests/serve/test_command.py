"""The command: its address, access, log and metrics, and that it opens no connection."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from c2llm_lite.cli.serve import serve as serve_command
from c2llm_lite.serve.failures import ApiError
from c2llm_lite.serve.keys import Keys
from c2llm_lite.serve.server import Server

SECRET = "zanzibar quicksilver"

# Runs the command with every connection and name look-up refused, as an audit hook sees them.
CALLS_NOBODY = """
import runpy, sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        if event == "socket.getaddrinfo" and arguments[0] == "127.0.0.1":
            return
        sys.stderr.write(f"CALLED {event} {arguments}\\n")
        raise PermissionError(event)
sys.addaudithook(refuse)
sys.argv = ["c2llm-lite", *sys.argv[1:]]
runpy.run_module("c2llm_lite", run_name="__main__")
"""


def ask(url, text="x", **headers):
    body = {"model": "small", "input": text}
    return httpx.post(f"{url}/v1/embeddings", json=body, headers=headers, timeout=30)


def test_it_listens_on_loopback_and_answers_probes(server):
    assert server.url.startswith("http://127.0.0.1:")
    assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{server.url}/readyz").json() == {"status": "ready"}


def test_it_opens_no_connection_and_writes_no_text(launch):
    server = launch(before=("-c", CALLS_NOBODY))
    assert ask(server.url, SECRET).status_code == 200
    assert ask(server.url, [SECRET, "\x00", ""]).status_code == 400
    assert ask(server.url, SECRET * 1000).status_code == 400
    assert httpx.post(f"{server.url}/v1/embeddings?input={SECRET}", content=SECRET).status_code == 400
    assert httpx.get(f"{server.url}/{SECRET}").status_code == 404
    metrics = httpx.get(f"{server.url}/metrics").text
    assert server.stop() == 0
    assert "CALLED" not in server.log
    for written in (server.log, metrics):
        assert "zanzibar" not in written
        assert "quicksilver" not in written
    assert len(server.log.splitlines()) == 1, server.log  # where it is


def test_keys(launch, tmp_path):
    path = tmp_path / "keys"
    path.write_text("# ours\nfirst-key-of-all\n\n second-key-of-all \n")
    server = launch("--api-key-file", path)
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "first-key-of-all"},
        {"Authorization": "Basic first-key-of-all"},
        {"Authorization": "Bearer"},
        {"Authorization": b"Bearer \xff"},
    ):
        answer = ask(server.url, **headers)
        assert answer.status_code == 401, headers
        assert answer.json()["error"]["code"] == "invalid_api_key"
    for key in ("first-key-of-all", "second-key-of-all"):
        assert ask(server.url, Authorization=f"Bearer {key}").status_code == 200
    for path in ("/v1/models", "/metrics", "/openapi.json"):
        assert httpx.get(f"{server.url}{path}").status_code == 401
        assert httpx.get(f"{server.url}{path}", headers={"Authorization": "bearer first-key-of-all"}).status_code == 200
    for path in ("/healthz", "/readyz"):
        assert httpx.get(f"{server.url}{path}").status_code == 200
    assert "key" not in server.log


def test_a_large_body_without_a_key_is_not_read(here):
    server = here(keys=["k"])
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        raw.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "contains no key"),
        (b"# none\n", "contains no key"),
        (b"two words", "line 1"),
        (b"a\nk\xc3\xa9y", "line 2"),
    ],
)
def test_a_key_file_that_will_not_do(tmp_path, content, words):
    path = tmp_path / "keys"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        Keys.read(path)


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_key_file_that_is_no_regular_file_is_refused_at_once(tmp_path, make):
    make(tmp_path / "keys")
    with pytest.raises(ValueError, match="not a regular file"):
        Keys.read(tmp_path / "keys")


def test_a_huge_key_file_is_refused(tmp_path):
    with (tmp_path / "keys").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(ValueError, match="larger than 1 MiB"):
        Keys.read(tmp_path / "keys")


def test_a_weak_key_and_a_file_that_everyone_may_write_are_warned_of(tmp_path, caplog):
    path = tmp_path / "keys"
    path.write_text("# ours\nk\n" + "0123456789abcdef\n")
    path.chmod(0o600)
    Keys.read(path).check("Bearer k")
    (weak,) = caplog.messages
    assert "line 2: this key has 1 characters" in weak
    caplog.clear()
    path.write_text("0123456789abcdef\n")
    path.chmod(0o646)
    Keys.read(path)
    (writable,) = caplog.messages
    assert "chmod o-w" in writable


def test_a_linked_bundle_is_named_as_its_link(launch_named, tmp_path, f32_bundle):
    (tmp_path / "c2llm").symlink_to(f32_bundle)
    assert launch_named(tmp_path / "c2llm") == "c2llm"
    assert launch_named(Path("c2llm"), cwd=tmp_path) == "c2llm"
    assert launch_named(Path(), cwd=f32_bundle) == f32_bundle.name
    assert launch_named(f32_bundle / ".." / f32_bundle.name) == f32_bundle.name


@pytest.fixture
def launch_named(monkeypatch):
    """The name under which the command serves a bundle."""

    def named(bundle, cwd=None):
        if cwd:
            monkeypatch.chdir(cwd)
        found = []
        monkeypatch.setattr(Server, "run", lambda self, sockets: found.append(self._service._offer.name))
        monkeypatch.setattr("signal.signal", lambda *_: None)
        serve_command(bundle, port=0, threads=1)
        return found.pop()

    return named


def test_every_key_is_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda a, b: compared.append((a, b)) or a == b)
    keys = Keys(["one", "two", "three"])
    keys.check("Bearer one")
    assert len(compared) == 3
    with pytest.raises(ApiError):
        keys.check("Bearer o")
    assert len({len(value) for pair in compared for value in pair}) == 1


def test_metrics(here):
    server = here()
    server.post(input=["one", "three"])
    server.post(input=5)
    text = httpx.get(f"{server.url}/metrics").text
    for line in (
        'c2llm_requests_total{path="/v1/embeddings",status="200"} 1.0',
        'c2llm_requests_total{path="/v1/embeddings",status="400"} 1.0',
        "c2llm_texts_total 2.0",
        "c2llm_tokens_total 8.0",
        "c2llm_batch_tokens_sum 8.0",
        "c2llm_waiting_tokens 0.0",
        "c2llm_request_seconds_count 2.0",
    ):
        assert line in text.splitlines()
    assert "process_resident_memory_bytes" in text


def serve(*options):
    command = [sys.executable, "-m", "c2llm_lite", "serve", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_taken_port_is_reported_before_the_model_is_loaded(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = serve(tmp_path / "no-bundle", "--port", taken.getsockname()[1])
    assert done.returncode == 1
    assert "choose another --host or --port" in done.stderr


def test_another_address_without_a_key_is_warned_of(tmp_path):
    done = serve(tmp_path / "no-bundle", "--host", "0.0.0.0", "--port", 0)
    assert done.returncode == 1  # there is no bundle
    assert "--api-key-file" in done.stderr
    assert "--api-key-file" not in serve(tmp_path / "no-bundle", "--port", 0).stderr
