"""NumPy's OpenBLAS has one thread while an engine computes, and its own number afterwards, even if calls overlap."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from c2llm_lite import blas
from c2llm_lite.errors import DeviceError


def threads() -> int:
    found = ThreadpoolController().select(internal_api="openblas").info()
    if not found:
        pytest.skip("this NumPy has no OpenBLAS")
    return min(library["num_threads"] for library in found)


def test_overlapping_limits_leave_the_number_as_it_was() -> None:
    def second() -> None:
        with blas.one_thread():
            entered.set()
            leave.wait(10)

    with ThreadpoolController().select(internal_api="openblas").limit(limits=2):
        entered, leave = threading.Event(), threading.Event()
        assert threads() == 2
        other = threading.Thread(target=second)
        with blas.one_thread():
            other.start()
            entered.wait(10)
            assert threads() == 1
        assert threads() == 1  # the other is still inside
        leave.set()
        other.join()
        assert threads() == 2


def test_an_error_inside_restores_it_too() -> None:
    before = threads()
    with pytest.raises(KeyError), blas.one_thread():
        raise KeyError
    assert threads() == before


def test_a_thread_that_never_set_a_limit_before_is_held_to_one_too() -> None:
    found = []

    def inside() -> None:
        with blas.one_thread():
            found.append(threads())

    with ThreadpoolController().select(internal_api="openblas").limit(limits=2):  # by this thread
        other = threading.Thread(target=inside)
        other.start()
        other.join()
        assert (found, threads()) == ([1], 2)


def test_products_that_are_wrong_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    blas.check()
    blas.check.cache_clear()

    class Wrong(np.ndarray):
        def __matmul__(self, other):
            return np.full((len(self), other.shape[1]), 1e27, np.float32)

    class Generator:
        def standard_normal(self, shape, dtype):
            return np.ones(shape, dtype).view(Wrong)

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Generator())
    with pytest.raises(DeviceError, match=r"computes wrong matrix products on this CPU; set OPENBLAS_CORETYPE"):
        blas.check()
    blas.check.cache_clear()
