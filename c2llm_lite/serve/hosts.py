"""Checks the Host header against DNS rebinding, by which a web page's script could reach a local server."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from .failures import ApiError

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Hosts:
    """ASGI middleware that refuses requests with another Host header. The port is not compared."""

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self._app = app
        self._names = {_bare(name) for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or respond with 421."""
        given = next((value.decode("latin-1") for name, value in scope.get("headers", ()) if name == b"host"), None)
        # A client without a Host header (HTTP/1.0) is not a browser.
        if given is None or _bare(given) in self._names:
            await self._app(scope, receive, send)
            return
        name = _bare(given)[:253].encode("ascii", "replace").decode()
        message = f"this server answers to {', '.join(sorted(self._names))}, not to {name!r}: "
        refused = ApiError(421, f"{message}start it with --allow-host NAME to add a name", code="host_refused")
        await refused.response()(scope, receive, send)


def _bare(host: str) -> str:
    """The host without its port and an IPv6 address's brackets."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    if host.count(":") == 1:
        host = host.partition(":")[0]
    return host.rstrip(".")
