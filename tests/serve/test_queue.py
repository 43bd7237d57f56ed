"""The batching queue: full batches, fair order, freed places, nothing lost."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest

from c2llm_lite.serve.queue import Queue, QueueClosedError, QueueFullError

ROOM = 100


class Engine:
    """Runs batches one by one, each when it is let; a vector is the text's length and first token."""

    def __init__(self) -> None:
        self.batches: list[list[list[int]]] = []
        self.prompts: list[str] = []
        self.turns = threading.Semaphore(0)
        self.began = threading.Semaphore(0)
        self.failure: BaseException | None = None
        self.poison: int | None = None  # a first token that fails its batch

    def run(self, texts, prompt):
        self.batches.append([list(ids) for ids in texts])
        self.prompts.append(prompt)
        self.began.release()
        assert self.turns.acquire(timeout=20)
        if self.failure:
            raise self.failure
        if self.poison in (ids[0] for ids in texts):
            raise MemoryError("no memory")
        return np.array([[len(ids), ids[0]] for ids in texts], np.float32)

    def first_tokens(self):
        """What was run, by each text's first token, batch by batch."""
        return [[ids[0] for ids in batch] for batch in self.batches]


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def queue(engine):
    made = Queue(engine.run, width=2, most=10_000)
    yield made
    engine.turns.release(10_000)
    made.close()


def text(name, length):
    return [name] + [0] * (length - 1)


def submit(queue, *texts, prompt=""):
    return queue.submit(list(texts), prompt, shared=0, room=ROOM)


def hold(queue, engine):
    """A text that keeps the engine busy until it is let go."""
    submit(queue, text(999, 1))
    assert engine.began.acquire(timeout=20)


def test_waiting_requests_share_full_batches(queue, engine):
    hold(queue, engine)
    futures = [submit(queue, text(i, 40)) for i in range(5)]
    engine.turns.release(10)
    for i, future in enumerate(futures):
        np.testing.assert_array_equal(future.result(20), [[40, i]])
    assert engine.first_tokens() == [[999], [0, 1], [2, 3], [4]]


def test_a_smaller_text_fills_what_a_larger_one_leaves(queue, engine):
    hold(queue, engine)
    futures = [submit(queue, text(i, length)) for i, length in enumerate([60, 61, 40])]
    engine.turns.release(10)
    [future.result(20) for future in futures]
    assert engine.first_tokens() == [[999], [2, 0], [1]]


def test_rows_come_back_in_the_request_s_order_and_a_long_text_goes_alone(queue, engine):
    lengths = [5, 300, 7, 99, 1, 250]
    future = submit(queue, *(text(i, length) for i, length in enumerate(lengths)))
    engine.turns.release(10)
    np.testing.assert_array_equal(future.result(20), [[length, i] for i, length in enumerate(lengths)])
    assert all(len(batch) == 1 or sum(map(len, batch)) <= ROOM for batch in engine.batches)


def test_a_short_request_goes_before_the_long_ones_that_wait(queue, engine):
    hold(queue, engine)
    for i in range(20):
        submit(queue, text(i, 300))
    submit(queue, *(text(100 + i, 30) for i in range(100)))
    engine.turns.release(4)  # the first, and three of those
    for _ in range(4):
        assert engine.began.acquire(timeout=20)
    short = submit(queue, text(500, 10))
    engine.turns.release(2)  # the batch that was being run, and the next
    short.result(20)


def test_a_long_request_does_not_starve_behind_a_stream_of_short_ones(queue, engine):
    hold(queue, engine)
    long = submit(queue, text(1, 90))
    shorts = []
    for _ in range(30):
        shorts += [submit(queue, text(2, 50)), submit(queue, text(3, 50))]  # as much as a batch holds, each time
        engine.turns.release()
        assert engine.began.acquire(timeout=20)
        if long.done():
            break
    assert long.done()
    assert len(shorts) < 16  # 3 requests share: the long one's 90 tokens are due after 270


def test_a_batch_has_one_prompt_and_each_prompt_its_turn(queue, engine):
    hold(queue, engine)
    futures = [submit(queue, text(i, 40), prompt="ab"[i % 2]) for i in range(8)]
    engine.turns.release(10)
    [future.result(20) for future in futures]
    assert engine.prompts == ["", "a", "b", "a", "b"]
    assert engine.first_tokens()[1:] == [[0, 2], [1, 3], [4, 6], [5, 7]]


def test_the_shared_prompt_takes_no_room(queue, engine):
    hold(queue, engine)
    futures = [queue.submit([text(i, 60)], "prompt", shared=10, room=ROOM) for i in range(2)]
    engine.turns.release(10)
    [future.result(20) for future in futures]
    assert engine.first_tokens() == [[999], [0, 1]]


def test_a_full_queue_refuses_and_says_when_to_come_back(queue, engine):
    hold(queue, engine)
    submit(queue, *[text(1, 999)] * 10)
    with pytest.raises(QueueFullError) as refused:
        submit(queue, text(1, 10))
    assert refused.value.retry_after >= 1
    engine.turns.release(1)
    submit(queue, text(1, 5))


def test_an_idle_queue_takes_any_request(queue, engine):
    engine.turns.release(1000)
    assert submit(queue, *[text(1, 200)] * 100).result(20).shape == (100, 2)


def test_retry_after_is_reckoned_from_the_speed(queue, engine):
    future = submit(queue, text(1, 1000))
    assert engine.began.acquire(timeout=20)
    time.sleep(0.5)
    engine.turns.release()
    future.result(20)  # 2,000 tokens a second at most
    hold(queue, engine)
    submit(queue, *[text(1, 1000)] * 9)
    with pytest.raises(QueueFullError) as refused:
        submit(queue, text(1, 1000))
    assert 4 <= refused.value.retry_after <= 60


def test_cancelling_frees_the_place_and_runs_nothing(queue, engine):
    hold(queue, engine)
    dropped = [submit(queue, *[text(7, 90)] * 11) for _ in range(10)]
    with pytest.raises(QueueFullError):
        submit(queue, text(8, 200))
    for future in dropped:
        assert future.cancel()
    assert queue.held == 1
    future = submit(queue, text(8, 200))
    engine.turns.release(10)
    future.result(20)
    assert engine.first_tokens() == [[999], [8]]
    with pytest.raises(CancelledError):
        dropped[0].result(0)


def test_a_request_may_be_canceled_while_it_is_run(queue, engine):
    future = submit(queue, text(1, 10), text(2, 200))
    assert engine.began.acquire(timeout=20)
    future.cancel()
    assert queue.held == 0
    engine.turns.release(1)
    engine.turns.release(1)
    np.testing.assert_array_equal(submit(queue, text(3, 4)).result(20), [[4, 3]])
    assert engine.first_tokens() == [[1], [3]]


def test_a_failing_batch_fails_its_requests_and_no_other(queue, engine):
    hold(queue, engine)
    engine.failure = MemoryError("no memory")
    bad = submit(queue, text(1, 90), text(2, 90))
    engine.turns.release(2)
    with pytest.raises(MemoryError):
        bad.result(20)
    engine.failure = None
    engine.turns.release(5)
    np.testing.assert_array_equal(submit(queue, text(3, 4)).result(20), [[4, 3]])
    assert queue.held == 0
    assert [2] not in engine.first_tokens()  # the rest of a failed request is not run


def test_close_finishes_what_was_accepted_and_takes_nothing_new(engine):
    queue = Queue(engine.run, width=2, most=10_000)
    hold(queue, engine)
    futures = [submit(queue, text(i, 80)) for i in range(10)]
    closing = threading.Thread(target=queue.close)
    closing.start()
    while queue.ready:
        time.sleep(0.001)
    with pytest.raises(QueueClosedError):
        submit(queue, text(1, 1))
    engine.turns.release(100)
    closing.join(20)
    assert not closing.is_alive()
    assert all(future.result(0)[0, 0] == 80 for future in futures)


def test_a_failing_text_fails_its_own_request_and_no_other_of_its_batch(queue, engine):
    hold(queue, engine)
    engine.poison = 2
    first, bad, last = (submit(queue, text(i, 20)) for i in (1, 2, 3))
    engine.turns.release(10)
    np.testing.assert_array_equal(first.result(20), [[20, 1]])
    np.testing.assert_array_equal(last.result(20), [[20, 3]])
    with pytest.raises(MemoryError):
        bad.result(20)
    assert engine.first_tokens() == [[999], [1, 2, 3], [1], [2], [3]]
    assert queue.held == 0


class Panic(BaseException):
    """As a Rust library raises one."""


@pytest.mark.parametrize("failure", [Panic("at src/lib.rs"), SystemExit(3)])
def test_a_panic_of_the_engine_is_a_failed_request_and_the_thread_continues(queue, engine, failure):
    engine.failure = failure
    engine.turns.release(10)
    with pytest.raises(RuntimeError, match=type(failure).__name__):
        submit(queue, text(1, 5)).result(20)
    engine.failure = None
    assert queue.ready
    np.testing.assert_array_equal(submit(queue, text(2, 5)).result(20), [[5, 2]])


@pytest.mark.parametrize("shape", [(1, 2), (2, 1), (2, 3), (4,)])
def test_vectors_of_a_wrong_shape_fail_the_request(shape):
    queue = Queue(lambda texts, prompt: np.zeros(shape, np.float32), width=2, most=100)
    with pytest.raises(RuntimeError, match="the engine gave"):
        submit(queue, [1], [2]).result(20)
    assert queue.ready
    queue.close()


def test_a_callback_that_fails_hangs_nobody(engine):
    def fail(tokens):
        raise KeyError(tokens)

    engine.turns.release(10)
    queue = Queue(engine.run, width=2, most=100, on_batch=fail)
    for _ in range(2):
        with pytest.raises(KeyError):
            submit(queue, [1]).result(20)
    queue.close()


def test_a_thread_that_ends_leaves_nobody_waiting(engine, monkeypatch):
    queue = Queue(engine.run, width=2, most=100)
    hold(queue, engine)
    waiting = [submit(queue, [i]) for i in range(3)]
    monkeypatch.setattr(queue, "_take", None)
    engine.turns.release(10)
    for future in waiting:
        with pytest.raises(QueueClosedError):
            future.result(20)
    assert not queue.ready
    with pytest.raises(QueueClosedError):
        submit(queue, [1])


def test_abandon_answers_what_waits_and_what_is_run(engine):
    queue = Queue(engine.run, width=2, most=10_000)
    running = submit(queue, text(1, 5))
    assert engine.began.acquire(timeout=20)
    waiting = [submit(queue, text(i, 80)) for i in range(10)]
    queue.abandon()
    for future in (running, *waiting):
        with pytest.raises(QueueClosedError):
            future.result(0)
    engine.turns.release(1)
    queue.close()
    assert engine.first_tokens() == [[1]]
    assert queue.held == 0
