"""Prometheus metrics: requests, texts, tokens, batches and waiting tokens; never a text."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
BATCH_TOKENS = (16, 64, 128, 256, 384, 448, 512, 1024, 4096, 16384)


class Metrics:
    """One server's metrics, in their own registry."""

    def __init__(self, waiting: Callable[[], float]) -> None:
        """waiting: returns the number of accepted tokens without a response."""
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("c2llm_requests", "Answers by path and status.", ["path", "status"], registry=registry)
        self.seconds = Histogram(
            "c2llm_request_seconds", "From a request's head to its answer's end.", buckets=SECONDS, registry=registry
        )
        self.texts = Counter("c2llm_texts", "Texts accepted.", registry=registry)
        self.tokens = Counter("c2llm_tokens", "Tokens accepted, prompts with them.", registry=registry)
        self.batches = Histogram(
            "c2llm_batch_tokens",
            "Tokens run at once, without the shared prompt's.",
            buckets=BATCH_TOKENS,
            registry=registry,
        )
        self.hung_up = Counter("c2llm_hung_up", "Requests whose client left before the answer.", registry=registry)
        Gauge("c2llm_waiting_tokens", "Tokens accepted and not answered.", registry=registry).set_function(waiting)

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class Counted:
    """ASGI middleware that counts responses, by path for the API's paths."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._paths else "other"
        started = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(path, str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, counted)
        if path == "/v1/embeddings":
            self._metrics.seconds.observe(time.perf_counter() - started)
