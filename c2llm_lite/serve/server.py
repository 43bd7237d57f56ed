"""Runs a service under uvicorn: settings and shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from types import FrameType
from typing import cast

import uvicorn

from . import limits, log_limit
from .app import Service
from .connection import Config, Connection, most_connections

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Serves until SIGTERM or SIGINT, then finishes accepted requests; a further SIGINT answers them with 503."""

    def __init__(self, service: Service, *, connections: int | None = None) -> None:
        """connections: the limit on open connections; None means what the limit on open files allows."""
        config = Config(
            service.app(),
            connections=most_connections() if connections is None else connections,
            port=0,
            loop="asyncio",
            http=Connection,
            ws="none",
            lifespan="on",
            log_config=None,  # this process's own
            access_log=False,  # a request's path may contain a text
            server_header=False,
            proxy_headers=False,
            backlog=limits.BACKLOG,
            timeout_keep_alive=limits.KEEP_ALIVE_SECONDS,
        )
        super().__init__(config)
        self._service = service
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, with the log limit."""
        self._loop = asyncio.get_running_loop()
        once = log_limit.OncePerMinute()
        loggers = [logging.getLogger(name) for name in log_limit.LOGGERS]
        for logger in loggers:
            logger.addFilter(once)
        try:
            await super().serve(sockets)
        finally:
            for logger in loggers:
                logger.removeFilter(once)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal. At a second SIGINT, uvicorn would end each request with 500 and a traceback."""
        if not self.should_exit:
            super().handle_exit(sig, frame)
            if self._service.queue.held and self._loop:
                self._loop.call_soon_threadsafe(log.warning, "answering what was accepted; Ctrl-C stops at once")
        elif sig == signal.SIGINT and self._loop:
            self._loop.call_soon_threadsafe(self.hurry)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish accepted requests, for at most STOP_SECONDS."""
        late = asyncio.get_running_loop().call_later(limits.STOP_SECONDS, self.hurry)
        await self._stop_listening(sockets or [])
        await super().shutdown(sockets)
        late.cancel()

    async def _stop_listening(self, sockets: list[socket.socket]) -> None:
        """Close the listeners, and give clients that have connected a moment to be read.

        Under load the kernel holds connections that the event loop has not come to: closing a listener resets them, and
        uvicorn closes a connection of which it has read no request.
        """
        waiting: list[socket.socket] = []
        for listener in sockets:
            with contextlib.suppress(OSError):  # none waits, or no file descriptor is left
                while len(waiting) < limits.BACKLOG:
                    waiting.append(listener.accept()[0])
        for server in self.servers:
            server.close()
        for client in waiting:
            client.setblocking(False)
            await asyncio.get_running_loop().connect_accepted_socket(self._connection, client)
        await asyncio.sleep(limits.LAST_REQUEST_SECONDS)

    def _connection(self) -> asyncio.Protocol:
        return Connection(cast(Config, self.config), server_state=self.server_state, app_state=self.lifespan.state)

    def hurry(self) -> None:
        """Answer waiting requests with 503, and close open connections a moment later."""
        self._service.queue.abandon()
        asyncio.get_running_loop().call_later(limits.HURRY_SECONDS, self._close_connections)

    def _close_connections(self) -> None:
        for connection in list(self.server_state.connections):
            cast(Connection, connection).abort()
