"""Clients that send too much, too slowly, nonsense, or leave: the right status, and the server keeps running."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from c2llm_lite.serve import limits


def works(url, model="small"):
    answer = httpx.post(f"{url}/v1/embeddings", json={"model": model, "input": "x"}, timeout=30)
    return answer.status_code == 200


def resident(pid):
    """Bytes of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_fifty_megabyte_bodies_are_413_and_take_no_memory(server):
    before = resident(server.process.pid)
    big = b'{"model": "small", "input": "' + b"x" * 50_000_000 + b'"}'
    for _ in range(4):
        answer = httpx.post(f"{server.url}/v1/embeddings", content=big, timeout=60)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "request_too_large"
        in_pieces = (big[start : start + 100_000] for start in range(0, len(big), 100_000))  # no Content-Length
        assert httpx.post(f"{server.url}/v1/embeddings", content=in_pieces, timeout=60).status_code == 413
    assert resident(server.process.pid) - before < 6 * limits.BODY_BYTES  # of 400 MB that were sent; 3.10 frees later
    assert works(server.url)


def test_ten_thousand_texts_are_400(server):
    answer = httpx.post(f"{server.url}/v1/embeddings", json={"model": "small", "input": ["x"] * 10_000})
    assert answer.status_code == 400
    assert "over 2,048 items" in answer.json()["error"]["message"]
    assert works(server.url)


def test_a_body_of_the_greatest_size_and_the_most_tokens_is_refused_in_bounded_memory(server):
    before = resident(server.process.pid)
    text = "".join(chr(0x4E00 + i % 5000) for i in range(1300))  # three tokens a character, and three bytes
    texts = json.dumps({"model": "small", "input": [text] * 2000}, ensure_ascii=False).encode()
    assert limits.BODY_BYTES * 0.9 < len(texts) < limits.BODY_BYTES
    answer = httpx.post(f"{server.url}/v1/embeddings", content=texts, timeout=60)
    assert answer.status_code == 400, answer.text
    one = json.dumps({"model": "small", "input": "x" * 8_000_000}).encode()
    refused = httpx.post(f"{server.url}/v1/embeddings", content=one, timeout=60)
    assert refused.status_code == 400
    assert "8,000,000 characters" in refused.text
    nested = b"[" + b"[]," * 2_700_000 + b"[]]"
    assert httpx.post(f"{server.url}/v1/embeddings", content=nested, timeout=60).status_code == 400
    assert resident(server.process.pid) - before < 400e6
    assert works(server.url)


FLOODS = {
    "names": b"{" + b",".join(b'"%d":0' % i for i in range(600_000)) + b"}",
    "null names": b"{" + b",".join(b'"%d":null' % i for i in range(500_000)) + b"}",
    "the same name": b"{" + b'"input":"x",' * 600_000 + b'"model":"small"}',
    "lists": b'{"model":"small","input":[' + b"[]," * 2_600_000 + b"[]]}",
    "lists of lists": b'{"model":"small","input":[' + b"[[]]," * 1_500_000 + b"[]]}",
    "integers": b'{"model":"small","input":[' + b"1," * 3_900_000 + b"1]}",
    "floats": b'{"model":"small","input":[' + b"1.5," * 1_900_000 + b"1]}",
    "objects": b'{"model":"small","input":[' + b'{"a":{}},' * 800_000 + b"{}]}",
    "depth": b'{"model":"small","input":' + b"[" * 7_000_000,
    "space": b" " * 7_500_000,
    "escapes": b'{"model":"small","input":"' + b"\\n" * 3_700_000 + b'"}',
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_is_400_at_once_and_takes_no_memory(kind):
    """In a process of its own, for its memory's maximum."""
    flood = FLOODS[kind]
    assert len(flood) < limits.BODY_BYTES
    code = """
import resource, sys, time
from c2llm_lite.serve.failures import ApiError
from c2llm_lite.serve.request import Offer, parse
body = sys.stdin.buffer.read()
offer = Offer("small", 8, {}, vocab=100, max_tokens=2048, token_ids=True)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.process_time()
try:
    parse(body, offer)
except ApiError as error:
    assert error.status == 400, error
else:
    raise AssertionError("accepted")
print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], input=flood, capture_output=True, check=True)
    seconds, kilobytes = map(float, done.stdout.split())
    assert kilobytes < 8 * limits.BODY_BYTES / 1024
    assert seconds < 0.5


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x00\xff\xfe", b'{"input": "\xc3\x28", "model": "small"}', b'{"input": NaN, "model": "small"}', b"[1e999]"],
)
def test_nonsense_is_400(server, raw):
    answer = httpx.post(f"{server.url}/v1/embeddings", content=raw)
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_broken_http_is_400_and_other_paths_and_methods_are_reported_apart(server):
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as raw:
        raw.sendall(b"\x16\x03\x01\x02\x00 nonsense\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400")
    assert httpx.get(f"{server.url}/v1/embeddings").status_code == 405
    assert httpx.post(f"{server.url}/v1/completions").status_code == 404
    assert works(server.url)


def test_a_slow_client_gets_408_and_others_are_served_meanwhile(here, monkeypatch):
    monkeypatch.setattr(limits, "BODY_SECONDS", 1.0)
    server = here()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as slow:
        slow.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        assert server.post().status_code == 200
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_bodies_that_are_being_read_share_a_bound(here, monkeypatch, until):
    monkeypatch.setattr(limits, "BODIES_BYTES", 2000)
    server = here()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as slow:
        slow.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + b"x" * 1900)
        until(lambda: server.service._bodies._held == 1900)
        refused = server.post(input="x" * 90)
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "1"
    until(lambda: server.service._bodies._held == 0)  # it left
    assert server.post().status_code == 200


def test_a_full_queue_is_429_with_retry_after_and_readyz_says_so(here, until):
    server = here(queue_tokens=50)
    server.model.gate.clear()
    first = threading.Thread(target=server.post, kwargs={"input": "x" * 50})
    first.start()
    until(lambda: server.service.queue.held == 50)
    refused = server.post()
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert httpx.get(f"{server.url}/readyz").status_code == 503
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    server.model.gate.set()
    first.join(20)
    until(lambda: httpx.get(f"{server.url}/readyz").status_code == 200)
    assert server.post().status_code == 200


def test_a_client_that_hangs_up_frees_its_place(here, until):
    server = here()
    server.model.gate.clear()
    first = threading.Thread(target=server.post, kwargs={"input": "first"})
    first.start()
    until(lambda: server.model.batches)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/embeddings", json={"model": "model", "input": ["y" * 90] * 5}, timeout=0.5)
    until(lambda: server.service.queue.held == 5)  # the first's alone
    server.model.gate.set()
    first.join(20)
    assert server.model.texts_run == ["first"]
    assert "c2llm_hung_up_total 1.0" in httpx.get(f"{server.url}/metrics").text


def test_a_client_that_takes_no_answer_is_given_up(here, monkeypatch, until, caplog):
    monkeypatch.setattr(limits, "SEND_SECONDS", 0.5)
    server = here(queue_tokens=10_000)
    server.server.servers[0].sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # of its connections
    body = json.dumps({"model": "model", "input": ["x"] * 2048}).encode()
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", server.port))
        deaf.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        until(lambda: server.service.queue.held == 0 and server.model.batches)
        assert server.server.server_state.tasks
        until(lambda: not server.server.server_state.tasks)
        until(lambda: not server.server.server_state.connections)
    assert not caplog.records
    assert server.post().status_code == 200


def test_a_client_that_takes_all_but_the_end_is_given_up(here, monkeypatch, until, caplog):
    monkeypatch.setattr(limits, "SEND_SECONDS", 0.5)
    server = here()
    server.server.servers[0].sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    body = json.dumps({"model": "model", "input": ["x"] * 300}).encode()  # its answer is under asyncio's 64 KiB
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", server.port))
        deaf.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nConnection: close\r\n")
        deaf.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        until(lambda: server.model.batches)
        until(lambda: not server.server.server_state.connections, 10)
    assert not caplog.records


def test_an_engine_that_fails_is_500_and_says_nothing_of_the_text(here, caplog):
    server = here()
    server.model.failure = MemoryError("no memory for the batch")
    answer = server.post(input="my secret text")
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert "no memory for the batch" in caplog.text
    assert "secret" not in caplog.text
    server.model.failure = None
    assert server.post().status_code == 200


def test_short_requests_pass_long_ones(here, until):
    server = here(queue_tokens=100_000)
    server.model.gate.clear()
    threads = [threading.Thread(target=server.post, kwargs={"input": [f"{i}" * 64] * 20}) for i in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: server.service.queue.held == 8 * 20 * 64)
    short = threading.Thread(target=server.post, kwargs={"input": "short"})
    short.start()
    until(lambda: server.service.queue.held == 8 * 20 * 64 + 5)
    server.model.gate.set()
    for thread in [*threads, short]:
        thread.join(30)
    assert server.model.texts_run.index("short") <= 1
