"""Joins waiting requests into full batches for the engine, fairly.

Weighted fair queueing (Demers, Keshav and Shenker, 1989) chooses the next text: it assumes that each request has an
equal share of the engine, and runs first the text that would finish first under such sharing. So a short request
overtakes long ones, and a long one waits no longer than its share requires, however many short ones arrive. A batch has
one prompt, whose tokens are computed once for all its texts.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

import numpy as np

from ..engines import TokenIds
from ..pma import Array

log = logging.getLogger(__name__)

LOOKED_AT = 64  # most requests skipped to find a text that still fits a batch
RATE_MEMORY = 0.9  # smoothing factor of the throughput estimate for Retry-After


class QueueFullError(Exception):
    """The queue is full. retry_after: seconds until it should have room."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


class QueueClosedError(Exception):
    """The server is stopping and accepts no requests."""


@dataclass(order=True)
class _Job:
    """One request. done_at: when its next text would finish under equal sharing, in tokens; the order of jobs."""

    done_at: float
    order: int
    texts: Sequence[TokenIds] = field(compare=False)
    costs: Sequence[int] = field(compare=False)  # tokens that each text adds to a batch
    vectors: Array = field(compare=False)  # (texts, d)
    future: Future[Array] = field(compare=False, default_factory=Future)
    taken: int = field(compare=False, default=0)  # texts sent to the engine
    missing: int = field(compare=False, default=0)  # texts without vectors so far


class Queue:
    """Accepts requests from any thread and runs them in its own thread."""

    def __init__(
        self,
        run: Callable[[Sequence[TokenIds], str], Array],
        *,
        width: int,
        most: int,
        on_batch: Callable[[int], object] = lambda tokens: None,
    ) -> None:
        """run: token ids and their prompt -> (n, width). most: tokens that may wait. on_batch: gets each size."""
        self._run = run
        self._width = width
        self._most = most
        self._on_batch = on_batch
        self._waiting: dict[tuple[str, int], list[_Job]] = {}  # heaps, by prompt and room
        self._change = threading.Condition()
        self._order = itertools.count()
        self._clock = 0.0  # tokens that each request would have had so far under equal sharing
        self._rate = 0.0  # recent tokens per second
        self._held = 0
        self._open: set[Future[Array]] = set()  # accepted, without a response so far
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    @property
    def held(self) -> int:
        """Accepted tokens without a response."""
        return self._held

    @property
    def ready(self) -> bool:
        """Whether a request would be accepted now."""
        return not self._closed and self._held < self._most and self._thread.is_alive()

    def submit(self, texts: Sequence[TokenIds], prompt: str, *, shared: int, room: int) -> Future[Array]:
        """A future of the vectors (n, width). Canceling it frees the request's place.

        shared: the number of prompt tokens that each text starts with. room: the number of others that fill a batch. An
        idle queue accepts a request of any size. Raises QueueFullError or QueueClosedError.
        """
        tokens = sum(map(len, texts))
        costs = [max(1, len(ids) - shared) for ids in texts]
        with self._change:
            if self._closed:
                raise QueueClosedError("the server is stopping")
            self.check(tokens)
            self._held += tokens
            vectors = np.empty((len(texts), self._width), np.float32)
            job = _Job(self._clock + costs[0], next(self._order), texts, costs, vectors, missing=len(texts))
            heapq.heappush(self._waiting.setdefault((prompt, room), []), job)
            self._open.add(job.future)
            self._change.notify()
        job.future.add_done_callback(lambda _: self._release(job, (prompt, room), tokens))
        return job.future

    def check(self, tokens: int = 1) -> None:
        """Raise QueueFullError if a request of this many tokens would not be accepted now."""
        if self._held and self._held + tokens > self._most:
            raise QueueFullError(max(1, min(600, round(self._held / self._rate)) if self._rate else 1))

    def close(self) -> None:
        """Stop accepting requests, finish the accepted ones, and stop."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join()

    def abandon(self) -> None:
        """Stop accepting requests, and fail the accepted ones with QueueClosedError. A running batch is not stopped."""
        with self._change:
            self._closed = True
            self._change.notify()
            accepted = list(self._open)
        for future in accepted:
            _settle(future, QueueClosedError("the server is stopping"))

    def _release(self, job: _Job, lane: tuple[str, int], tokens: int) -> None:
        """Called once, when a job has its response or its client has left."""
        with self._change:
            self._held -= tokens
            self._open.discard(job.future)
            heap = self._waiting.get(lane, [])
            if job in heap:
                heap.remove(job)
                heapq.heapify(heap)

    def _work(self) -> None:
        try:
            self._run_batches()
        except BaseException:
            log.exception("the engine's thread ended; restart the server")
        finally:
            self.abandon()  # whatever ended this thread, no client may wait for it

    def _run_batches(self) -> None:
        while True:
            with self._change:
                while not any(self._waiting.values()):
                    if self._closed:
                        return
                    self._change.wait()
                prompt, batch = self._take()
            self._compute(prompt, batch)

    def _take(self) -> tuple[str, list[tuple[_Job, int]]]:
        """The next batch: its prompt, and each text's job and place in it."""
        lanes = {lane: heap for lane, heap in self._waiting.items() if heap}
        self._waiting = lanes
        active = sum(map(len, lanes.values()))
        prompt, room = lane = min(lanes, key=lambda lane: lanes[lane][0])
        heap = lanes[lane]
        batch: list[tuple[_Job, int]] = []
        passed: list[_Job] = []
        left = room
        while heap and left > 0 and len(passed) < LOOKED_AT:
            job = heapq.heappop(heap)
            cost = job.costs[job.taken]
            if batch and cost > left:
                passed.append(job)
                continue
            batch.append((job, job.taken))
            job.taken += 1
            left -= cost
            if job.taken < len(job.texts):
                job.done_at += job.costs[job.taken]
                heapq.heappush(heap, job)
        for job in passed:
            heapq.heappush(heap, job)
        self._clock += (room - left) / active
        return prompt, batch

    def _compute(self, prompt: str, batch: list[tuple[_Job, int]]) -> None:
        """Run a batch. If it fails, run each of its requests alone, so that only the one at fault fails."""
        tokens = sum(job.costs[place] for job, place in batch)
        started = time.perf_counter()
        try:
            self._on_batch(tokens)
            vectors = self._run([job.texts[place] for job, place in batch], prompt)
            if np.shape(vectors) != (len(batch), self._width):
                raise RuntimeError(f"the engine gave {np.shape(vectors)} for {len(batch)} texts of {self._width}")
        except BaseException as error:  # a library's panic is not an Exception
            requests: dict[int, list[tuple[_Job, int]]] = {}
            for job, place in batch:
                requests.setdefault(job.order, []).append((job, place))
            if len(requests) > 1:
                log.warning(
                    "a batch of %d requests failed (%s); running each request separately",
                    len(requests),
                    type(error).__name__,
                )
                for alone in requests.values():
                    if not alone[0][0].future.done():
                        self._compute(prompt, alone)
                return
            log.exception("a request's batch of %d texts failed", len(batch))
            _settle(batch[0][0].future, error if isinstance(error, Exception) else RuntimeError(repr(error)))
            return
        rate = tokens / max(1e-6, time.perf_counter() - started)
        self._rate = RATE_MEMORY * self._rate + (1 - RATE_MEMORY) * rate if self._rate else rate
        for (job, place), vector in zip(batch, vectors, strict=True):
            job.vectors[place] = vector
            job.missing -= 1
            if not job.missing:
                _settle(job.future, job.vectors)


def _settle(future: Future[Array], outcome: Array | Exception) -> None:
    """Give a job its response, unless its client has left or it already has one."""
    try:
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
    except InvalidStateError:
        pass
