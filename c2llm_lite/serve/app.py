"""The endpoints: the path of a request from its key to its response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from ..bundle import MANIFEST
from ..embedder import Embedder
from ..errors import TextError
from ..pma import Array
from ..vectors import normalize
from . import limits, openapi, reply
from .body import Bodies
from .failures import ApiError
from .hosts import Hosts
from .keys import Keys
from .metrics import Counted, Metrics
from .queue import Queue, QueueClosedError, QueueFullError
from .request import EmbeddingRequest, Offer, parse

EMBEDDINGS, MODELS = "/v1/embeddings", "/v1/models"
PATHS = frozenset({EMBEDDINGS, MODELS, "/healthz", "/readyz", "/metrics", "/openapi.json"})
HUNG_UP = 499  # nginx's status for a client that has left


class Service:
    """One model behind the API. close() finishes accepted requests."""

    def __init__(
        self,
        model: Embedder,
        offer: Offer,
        *,
        keys: Keys,
        queue_tokens: int,
        max_batch_tokens: int | None = None,
        cut_long_texts: bool = False,
        hosts: Iterable[str] | None = None,
    ) -> None:
        """queue_tokens: how many may wait. max_batch_tokens: tokens in one batch; None means the fastest.

        hosts: the names that requests may be addressed to; None means any.
        """
        self._model = model
        self._offer = offer
        self._keys = keys
        self._hosts = hosts
        self._cut = cut_long_texts
        self._most = queue_tokens
        self._max_batch_tokens = max_batch_tokens
        self._bodies = Bodies()
        self._tokenizing = asyncio.Semaphore(limits.TOKENIZING)
        self.metrics = Metrics(lambda: self.queue.held)
        self.queue = Queue(
            lambda texts, prompt: model.embed_tokens(texts, prompt=prompt),
            width=model.dim,
            most=queue_tokens,
            on_batch=self.metrics.batches.observe,
        )

    def app(self) -> ASGIApp:
        """The ASGI application."""
        routes = [
            Route(EMBEDDINGS, self._embeddings, methods=["POST"]),
            Route(MODELS, self._models),
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._metrics_text),
            Route("/openapi.json", self._openapi),
        ]
        handlers: Mapping[Any, Any] = {ApiError: _api_error, HTTPException: _http_error, Exception: _failure}
        inner: ASGIApp = Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan)
        if self._hosts is not None:
            inner = Hosts(inner, self._hosts)
        return Counted(inner, self.metrics, PATHS)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(self.queue.close)

    async def _embeddings(self, request: Request) -> Response:
        self._keys.check(request.headers.get("authorization"))
        try:
            self.queue.check()  # before reading it
            async with self._bodies.read(request) as body, self._tokenizing:
                asked, texts, prompt = await asyncio.to_thread(self._read, body)
            shared, room = self._model.full_batch(prompt)
            room = min(room, self._max_batch_tokens or room)
            waiting = self.queue.submit(texts, prompt, shared=shared, room=room)
            tokens = sum(map(len, texts))
            self.metrics.texts.inc(len(texts))
            self.metrics.tokens.inc(tokens)
            vectors = await _answer(waiting, request)
        except QueueFullError as error:
            raise ApiError(
                429, str(error), code="server_busy", headers={"Retry-After": str(error.retry_after)}
            ) from error
        except QueueClosedError as error:
            raise ApiError(503, str(error), code="stopping", headers={"Retry-After": "5"}) from error
        except ClientDisconnect:
            return self._gone()
        if vectors is None:
            return self._gone()
        body_pieces = reply.pieces(normalize(vectors[:, : asked.dim]), asked.encoding_format, asked.model, tokens)
        return StreamingResponse(body_pieces, media_type="application/json")

    def _read(self, body: bytearray) -> tuple[EmbeddingRequest, list[list[int]], str]:
        """The request, each text's token ids, and the prompt that they start with. Runs in a thread."""
        asked = parse(body, self._offer)
        if asked.ids:
            return asked, asked.ids, ""
        prompt = self._offer.prompts[asked.prompt_name] if asked.prompt_name else ""
        ids: list[list[int]] = []
        held = 0
        for first, texts in _portions(asked.texts):
            try:
                found = self._model.tokenize(texts, prompt=prompt, first_index=first, cut=self._cut)
            except TextError as error:
                raise ApiError(400, str(error), param="input") from None
            ids += found
            held += sum(map(len, found))
            if held > self._most:
                message = f"input has over {self._most:,} tokens, all that this server queues: send fewer texts at once"
                raise ApiError(400, message, param="input")
        return asked, ids, prompt

    def _gone(self) -> Response:
        self.metrics.hung_up.inc()
        return Response(status_code=HUNG_UP)

    async def _models(self, request: Request) -> Response:
        self._keys.check(request.headers.get("authorization"))
        created = int(self._model.bundle.path(MANIFEST).stat().st_mtime)
        rows = [
            {"id": name, "object": "model", "created": created, "owned_by": "c2llm-lite"}
            for name in self._offer.models()
        ]
        return JSONResponse({"object": "list", "data": rows})

    async def _healthz(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _readyz(self, _: Request) -> Response:
        ready = self.queue.ready
        return JSONResponse({"status": "ready" if ready else "busy"}, 200 if ready else 503)

    async def _metrics_text(self, request: Request) -> Response:
        self._keys.check(request.headers.get("authorization"))
        return Response(self.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def _openapi(self, request: Request) -> Response:
        self._keys.check(request.headers.get("authorization"))
        return JSONResponse(openapi.document(self._offer, keys=bool(self._keys)))


async def _answer(waiting: Future[Array], request: Request) -> Array | None:
    """The vectors, or None if the client has left, which frees its place."""
    done = asyncio.wrap_future(waiting)
    gone = asyncio.ensure_future(_hang_up(request))
    either: set[asyncio.Future[Any]] = {done, gone}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        return done.result() if done.done() else None
    finally:
        done.cancel()
        gone.cancel()


async def _hang_up(request: Request) -> None:
    """Return when the client closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _portions(texts: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Split the texts into runs of limits.TOKENIZED_CHARACTERS, each with its first text's index."""
    first = held = 0
    for i, text in enumerate(texts):
        if held and held + len(text) > limits.TOKENIZED_CHARACTERS:
            yield first, texts[first:i]
            first, held = i, 0
        held += len(text)
    yield first, texts[first:]


async def _api_error(_: Request, error: Any) -> Response:
    response: Response = error.response()
    return response


async def _http_error(_: Request, error: Any) -> Response:
    """Starlette's own errors: no such path, or no such method."""
    return ApiError(error.status_code, f"{error.detail}; see /openapi.json", headers=error.headers).response()


async def _failure(_: Request, error: Exception) -> Response:
    """An unexpected error. The details go to the log only."""
    return ApiError(500, "the server failed to embed this; its log says why").response()
