"""Misbehaving clients of one server: deaf, slow, gone, or not speaking HTTP."""

from __future__ import annotations

import json
import socket
import time

from .outcome import SlowError
from .server import Server


def _post(connection: socket.socket, body: bytes, length: int | None = None) -> None:
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    connection.sendall(head % (len(body) if length is None else length) + body)


def _deaf(server: Server) -> None:
    """Does not read its answers, more than the kernel's buffers hold, and stays."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((server.host, server.port))
        for _ in range(8):
            _post(connection, json.dumps({"model": "tiny", "input": ["x"] * 2048}).encode())
        time.sleep(6)


def _leaves(server: Server) -> None:
    """100 clients that leave before their answer, some with a reset."""
    for number in range(100):
        with socket.create_connection((server.host, server.port), 5) as connection:
            _post(connection, json.dumps({"model": "tiny", "input": [f"{number} x"] * 100}).encode())
            if number % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))


def _leaves_half(server: Server) -> None:
    """100 clients that leave amid their own body."""
    for _ in range(100):
        with socket.create_connection((server.host, server.port), 5) as connection:
            _post(connection, b'{"model": "tiny", "inp', 10_000)


def _slow_body(server: Server) -> None:
    """Sends a byte now and then; 408 is due."""
    with socket.create_connection((server.host, server.port), 5) as connection:
        _post(connection, b"{", 1000)
        until = time.monotonic() + 8
        connection.setblocking(False)
        while time.monotonic() < until:
            time.sleep(0.2)
            try:
                if connection.recv(100):
                    return
            except BlockingIOError:
                connection.send(b" ")
    raise SlowError("a slow body is read without end")


def _many_headers(server: Server) -> None:
    head = "".join(f"X-{i}: {'x' * 100}\r\n" for i in range(10_000)).encode()
    with socket.create_connection((server.host, server.port), 5) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        try:
            connection.sendall(head + b"\r\n")
            connection.recv(100)
        except ConnectionError:
            pass


def _pipelined(server: Server) -> None:
    with socket.create_connection((server.host, server.port), 5) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500)
        connection.recv(100)


def _chunked(server: Server) -> None:
    """Chunks that are none."""
    for chunk in (b"FFFFFFFFFFFFFFFF\r\nx", b"-1\r\nx", b"5;x=" + b"y" * 70_000 + b"\r\nx", b"0\r\nX: y\r\n\r\n"):
        with socket.create_connection((server.host, server.port), 5) as connection:
            head = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            try:
                connection.sendall(head + chunk)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(100)
            except ConnectionError:
                pass


CLIENTS = {
    "a client that does not read": _deaf,
    "100 clients that leave": _leaves,
    "100 clients that leave amid their body": _leaves_half,
    "a client that sends a byte at a time": _slow_body,
    "10,000 headers": _many_headers,
    "500 requests in one packet": _pipelined,
    "odd chunks": _chunked,
}
