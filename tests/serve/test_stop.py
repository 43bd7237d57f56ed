"""SIGTERM under load: accepted requests are answered, and no new ones are accepted."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time

import httpx
import pytest

from c2llm_lite.serve import limits

CLIENTS = 32


def test_sigterm_under_load_loses_no_accepted_request(launch):
    server = launch()
    address = server.url.removeprefix("http://")
    answered, lost, refused = [], [], []
    stopping = threading.Event()

    def ask(number):
        """Until the server takes no more connections. A connection each: one that is kept may close between two."""
        texts = [f"def f{number}_{i}(): pass\n" * (1 + number % 8) for i in range(8)]
        body = json.dumps({"model": "small:document", "input": texts})
        while True:
            connection = http.client.HTTPConnection(address, timeout=60)
            try:
                connection.connect()
            except ConnectionRefusedError:
                refused.append(stopping.is_set())
                return
            try:
                connection.request("POST", "/v1/embeddings", body)
                answer = connection.getresponse()
                answered.append((answer.status, answer.read().count(b'"embedding":[')))
            except (OSError, http.client.HTTPException) as error:
                lost.append(repr(error))
                return
            finally:
                connection.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    while len(answered) < 2 * CLIENTS:
        time.sleep(0.01)
    stopping.set()
    before = len(answered)
    assert server.stop() == 0
    for thread in threads:
        thread.join(60)
    assert set(answered) == {(200, 8)}
    assert len(answered) > before  # some were waiting, and were answered
    assert all(refused)
    # A connection may fall between the last that the server takes and the close of its listener.
    assert len(lost) <= 1, lost


def test_connections_that_the_kernel_holds_are_answered(here, monkeypatch, until):
    server = here()
    body = b'{"model": "model", "input": "text"}'
    asking = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    clients = []

    async def connect_and_stop(counter):
        """In the server's thread, which cannot take these connections before it stops."""
        for _ in range(5):
            clients.append(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            clients[-1].sendall(asking)
        return True

    monkeypatch.setattr(server.server, "on_tick", connect_and_stop)
    until(lambda: len(clients) == 5)
    for client in clients:
        with client, client.makefile("rb") as file:
            assert file.readline().startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGINT])
def test_requests_that_wait_are_answered_after_the_signal(launch, way):
    server = launch()
    body = json.dumps({"model": "small", "input": [f"text {i} " * 10 for i in range(100)]}).encode()
    host, port = server.url.removeprefix("http://").split(":")
    waiting = []
    for _ in range(5):
        raw = socket.create_connection((host, int(port)), timeout=60)
        raw.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        waiting.append(raw)
    while "c2llm_texts_total 500" not in httpx.get(f"{server.url}/metrics").text:
        time.sleep(0.01)
    server.process.send_signal(way)
    for raw in waiting:
        with raw, raw.makefile("rb") as file:
            assert file.readline().startswith(b"HTTP/1.1 200")
            assert b'"total_tokens"' in file.read()
    assert server.process.wait(30) == 0


def test_a_second_sigint_answers_what_waits_with_503_and_ends(launch, until):
    server = launch()
    host, port = server.url.removeprefix("http://").split(":")
    body = json.dumps({"model": "small", "input": [f"text {i} " * 20 for i in range(300)]}).encode()
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    waiting = []
    for sent in (head + body, head + body, head + body, head + body[:100], head[:30]):
        raw = socket.create_connection((host, int(port)), timeout=60)
        raw.sendall(sent)
        waiting.append(raw)
    until(lambda: "c2llm_texts_total 900" in httpx.get(f"{server.url}/metrics").text)
    server.process.send_signal(signal.SIGINT)
    until(lambda: "answering what was accepted" in server.log)
    for _ in range(3):  # people press it more than once
        server.process.send_signal(signal.SIGINT)
    for raw in waiting[:3]:
        with raw, raw.makefile("rb") as file:
            assert file.readline().startswith(b"HTTP/1.1 503")
            assert b'"stopping"' in file.read()
    assert server.process.wait(30) == 0
    assert "Traceback" not in server.log
    assert "ASGI" not in server.log


def test_a_stop_that_takes_too_long_ends_without_a_traceback(here, monkeypatch, until, caplog):
    monkeypatch.setattr(limits, "STOP_SECONDS", 0.3)
    server = here()
    server.model.gate.clear()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(server.post().status_code))
    asking.start()
    until(lambda: server.model.batches)
    server.server.should_exit = True
    asking.join(20)
    assert answers == [503]
    assert not caplog.records
