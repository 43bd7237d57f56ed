"""Limits NumPy's OpenBLAS to one thread while an engine computes, and refuses one that computes wrongly here.

OpenBLAS's threads spin after a product, on the cores that the engine's threads want next: with two cores, llama.cpp ran
1.4 times as fast without them. The limit holds for the whole process: two callers that each restored what they had
found could leave it in place for good. So the first one that enters sets it, and the last one that leaves restores it.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from .errors import DeviceError

_lock = threading.Lock()
_inside = 0
_before: list[int] = []


@functools.cache
def check() -> None:
    """Raises DeviceError if NumPy's matrix products are wrong on this CPU.

    OpenBLAS 0.3.34 (NumPy 2.5.5) gives garbage for transposed matrices on an emulated ARM CPU with SME whose streaming
    vectors are shorter than its SVE vectors.
    """
    draw = np.random.default_rng(0)
    left, right = (draw.standard_normal(shape, dtype=np.float32) for shape in ((40, 16), (576, 40)))
    with np.errstate(all="ignore"):
        product = left.T @ right.T
    without_blas = np.einsum("ij,jk->ik", left.T, right.T)
    if not np.allclose(product, without_blas, rtol=1e-3, atol=1e-3):
        found = [f"{library.internal_api} {library.version}" for part in _libraries() for library in part]
        raise DeviceError(
            f"NumPy {np.__version__} ({', '.join(found) or 'not OpenBLAS'}) computes wrong matrix products on this "
            "CPU; set OPENBLAS_CORETYPE=ARMV8 (HASWELL on x86), or install another release of numpy"
        )


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """OpenBLAS has one thread in the block, in whatever threads such blocks overlap."""
    shared, own = _libraries()
    before = _set_all(own, [1] * len(own))
    _enter(shared)
    try:
        yield
    finally:
        _leave(shared)
        _set_all(own, before)


def _enter(libraries: list[Any]) -> None:
    global _inside, _before
    with _lock:
        if _inside == 0:
            _before = _set_all(libraries, [1] * len(libraries))
        _inside += 1


def _leave(libraries: list[Any]) -> None:
    global _inside
    with _lock:
        _inside -= 1
        if _inside == 0:
            _set_all(libraries, _before)


@functools.cache
def _libraries() -> tuple[list[Any], list[Any]]:
    """OpenBLAS libraries whose limit is the process's, as in NumPy's wheels, and those whose limit is a thread's."""
    found = ThreadpoolController().select(internal_api="openblas").lib_controllers
    own = [library for library in found if library.threading_layer == "openmp"]
    return [library for library in found if library not in own], own


def _set_all(libraries: list[Any], counts: list[int]) -> list[int]:
    """Returns the numbers of threads that they had."""
    before = [library.num_threads for library in libraries]
    for library, count in zip(libraries, counts, strict=True):
        # From 3.8 on, threadpoolctl lets only the thread that called it first change the process's limit.
        getattr(library, "_real_set_num_threads", library.set_num_threads)(count)
    return before
