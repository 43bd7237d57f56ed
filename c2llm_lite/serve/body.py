"""Reads a request's body within limits of size, time and memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from . import limits
from .failures import ApiError


class Bodies:
    """The bodies in memory: together at most limits.BODIES_BYTES."""

    def __init__(self) -> None:
        self._held = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytearray]:
        """The whole body, counted as in memory until the block ends.

        Raises ApiError 413 (too large), 408 (too slow) or 429 (too many others are being read), and Starlette's
        ClientDisconnect.
        """
        body = bytearray()
        try:
            await self._collect_in_time(request, body)
            yield body
        finally:
            self._held -= len(body)

    async def _collect_in_time(self, request: Request, body: bytearray) -> None:
        try:
            await asyncio.wait_for(self._collect(request, body), limits.BODY_SECONDS)
        except asyncio.TimeoutError:
            message = f"the body did not arrive within {limits.BODY_SECONDS:.0f} seconds"
            raise ApiError(408, message, headers={"Connection": "close"}) from None

    async def _collect(self, request: Request, body: bytearray) -> None:
        """Fill `body`, and count its bytes."""
        # uvicorn reads and discards what a client sends after its response.
        said = request.headers.get("content-length", "")
        if said.isdecimal() and int(said) > limits.BODY_BYTES:
            raise _too_large()
        async for part in request.stream():
            if len(body) + len(part) > limits.BODY_BYTES:
                raise _too_large()
            if self._held + len(part) > limits.BODIES_BYTES:
                raise ApiError(
                    429,
                    "too many requests are being read; try again in a second",
                    code="server_busy",
                    headers={"Retry-After": "1"},
                )
            self._held += len(part)
            body += part


def _too_large() -> ApiError:
    message = f"the body is larger than {limits.BODY_BYTES >> 20} MiB: send fewer texts at a time"
    return ApiError(413, message, code="request_too_large")
