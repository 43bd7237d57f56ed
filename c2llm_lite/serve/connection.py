"""uvicorn's connection, with limits on their number and on the time each may take."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from . import limits
from .failures import ApiError

log = logging.getLogger(__name__)


def most_connections() -> int:
    """How many connections this process has file descriptors for."""
    try:
        import resource
    except ImportError:  # not on Unix
        return limits.CONNECTIONS
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY:
        return limits.CONNECTIONS
    in_use = len(os.listdir("/dev/fd")) if Path("/dev/fd").is_dir() else 0  # noqa: PTH208
    free = allowed - in_use - limits.BACKLOG - limits.REFUSED - limits.SPARE_FILES
    return max(1, min(limits.CONNECTIONS, free))


class Config(uvicorn.Config):
    """uvicorn's settings, and the limit on open connections."""

    def __init__(self, *args: Any, connections: int, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.connections = connections


class Connection(H11Protocol):
    """Closes if a request's header takes too long or the client does not read its response; refused beyond the limit.

    Bytes that the client does not read stay in the transport's buffer: uvicorn alone would keep them, and the
    connection, until the client leaves.
    """

    def __init__(self, config: Config, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self._most = config.connections
        self._refused = False
        self._header_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by asyncio when a client has connected."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # call pause_writing() as soon as a byte is not read
        # Without it, a response on a kept connection waits 40 ms for the acknowledgment of its header. asyncio sets it
        # only on sockets whose protocol is IPPROTO_TCP, and that of socket.create_server()'s is 0.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > self._most:
            self._refuse()
        else:
            self._start_header_timer()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio when the client has sent data."""
        if self._refused:
            return
        super().data_received(data)
        # Either the next request's header is incomplete, or its response is sent and the client still sends the body.
        if self.conn.their_state is h11.IDLE or self.conn.our_state is h11.DONE:
            self._start_header_timer()
        else:
            self._stop_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio when the connection is closed."""
        self._stop_header_timer()
        self._stop_send_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Called by asyncio when the client has not read everything."""
        super().pause_writing()
        self._send_timer = self.loop.call_later(limits.SEND_SECONDS, self.abort)

    def resume_writing(self) -> None:
        """Called by asyncio when the client has read everything."""
        self._stop_send_timer()
        super().resume_writing()

    def abort(self) -> None:
        """Close the connection now and discard unread bytes."""
        self.transport.abort()

    def _start_header_timer(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(limits.HEADER_SECONDS, self._too_slow)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_send_timer(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _too_slow(self) -> None:
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._write(ApiError(408, f"no whole header arrived within {limits.HEADER_SECONDS:.0f} seconds"))
        self.transport.close()

    def _refuse(self) -> None:
        """Respond with 503. Read from the client for a moment; otherwise its system would discard the response."""
        self._refused = True
        log.warning(
            "refused a connection with 503: %d are open, the most that the limit on open files allows", self._most
        )
        message = f"the server has {self._most:,} connections open, its maximum: try again in a few seconds"
        self._write(ApiError(503, message, code="server_busy", headers={"Retry-After": "5"}))
        if len(self.connections) > self._most + limits.REFUSED:
            self.transport.close()
            return
        self.transport.write_eof()
        self._header_timer = self.loop.call_later(limits.REFUSED_SECONDS, self.abort)

    def _write(self, error: ApiError) -> None:
        """A response outside of any request."""
        answer = error.response()
        response = h11.Response(
            status_code=answer.status_code, headers=[*answer.raw_headers, (b"connection", b"close")]
        )
        writer = h11.Connection(h11.SERVER)
        for event in (response, h11.Data(data=cast(bytes, answer.body)), h11.EndOfMessage()):
            self.transport.write(cast(Callable[[h11.Event], bytes], writer.send)(event))
