"""Imports a library that computes with OpenMP so that its waiting threads do not spin.

By default they spin, and take the cores from other processes: beside three busy processes torch:fp32 ran at 0.42 of its
fair share, and two processes of gguf:int4 at once at half of theirs; with OMP_WAIT_POLICY=passive both keep at least
0.87. Alone, threads that spin ran at 0.9 to 1.2 times the speed (benchmarks/results/beside_other_work.json). libgomp
reads the variable once, when it is loaded. llama.cpp and PyTorch share it: the first import decides.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

log = logging.getLogger(__name__)

WAIT_POLICY = "OMP_WAIT_POLICY"
TORCH = "torch"


@contextlib.contextmanager
def waiting_passively(library: str) -> Iterator[None]:
    """OMP_WAIT_POLICY is passive while `library` is imported in the block, unless the user has set it."""
    if WAIT_POLICY in os.environ or library in sys.modules:
        yield
        return
    if TORCH in sys.modules:
        log.info("torch was imported before %s; set %s=passive for speed beside other processes", library, WAIT_POLICY)
    os.environ[WAIT_POLICY] = "passive"
    try:
        yield
    finally:
        del os.environ[WAIT_POLICY]  # other libraries are not affected
