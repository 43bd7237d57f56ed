"""uvicorn over one service: its settings, and how it stops."""

from __future__ import annotations

import asyncio
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
    """Serves until SIGTERM or SIGINT, then finishes what was accepted; a SIGINT after that answers it with 503."""

    def __init__(self, service: Service, *, connections: int | None = None) -> None:
        """connections: how many may be open; None takes what the limit on open files allows."""
        config = Config(
            service.app(),
            connections=most_connections() if connections is None else connections,
            port=0,
            loop="asyncio",
            http=Connection,
            ws="none",
            lifespan="on",
            log_config=None,  # this process's own
            access_log=False,  # a request's path may hold a text
            server_header=False,
            proxy_headers=False,
            backlog=limits.BACKLOG,
            timeout_keep_alive=limits.KEEP_ALIVE_SECONDS,
        )
        super().__init__(config)
        self._service = service
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, and write no more to the log than clients should be able to make it."""
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
        """A signal came. uvicorn would end a second SIGINT's requests with 500 and a traceback each."""
        if not self.should_exit:
            super().handle_exit(sig, frame)
            if self._service.queue.held and self._loop:
                self._loop.call_soon_threadsafe(log.warning, "answering what was accepted; Ctrl-C stops at once")
        elif sig == signal.SIGINT and self._loop:
            self._loop.call_soon_threadsafe(self.hurry)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what was accepted, for STOP_SECONDS at most."""
        late = asyncio.get_running_loop().call_later(limits.STOP_SECONDS, self.hurry)
        await super().shutdown(sockets)
        late.cancel()

    def hurry(self) -> None:
        """Answer what waits with 503, and close what is still open a moment later."""
        self._service.queue.abandon()
        asyncio.get_running_loop().call_later(limits.HURRY_SECONDS, self._close_connections)

    def _close_connections(self) -> None:
        for connection in list(self.server_state.connections):
            cast(Connection, connection).abort()
