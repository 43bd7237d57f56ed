"""Refuses to compute in a process that was forked from one whose engine had threads.

A fork copies the thread that calls it and no other. OpenMP's runtime, on which llama.cpp and PyTorch run, then waits
forever for threads that are not there, also after the bundle is loaded again (tried: gguf and torch, two threads).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from .errors import ForkError

_lock = threading.Lock()
_computing = 0
_had_threads = False  # an engine of this process has computed with more than one thread
_forked = False  # from a process in which one had, or was computing


def check() -> None:
    """Raises ForkError in a process in which an engine would wait forever."""
    if _forked:
        raise ForkError(
            "this process was forked from one that had embedded, and an engine's threads do not survive a fork; start "
            "it with multiprocessing's 'spawn' method, or embed only in child processes"
        )


@contextlib.contextmanager
def computing(threads: int) -> Iterator[None]:
    """The block in which an engine computes with this many threads. Raises ForkError as `check` does."""
    global _computing, _had_threads
    check()
    with _lock:
        _computing += 1
        _had_threads |= threads > 1
    try:
        yield
    finally:
        with _lock:
            _computing -= 1


def _in_child() -> None:
    global _lock, _computing, _forked
    _forked |= _had_threads or _computing > 0
    _lock, _computing = threading.Lock(), 0


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_in_child)
