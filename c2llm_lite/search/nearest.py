"""The nearest vectors to a query's.

Up to EXACT_ROWS vectors every product is taken. Above that it is reading them that takes the time (200,000 vectors of
896 are 717 MB), so a first pass over their signs (signs.py, 22 MB) chooses which 6% are read.
"""

from __future__ import annotations

import numpy as np

from ..pma import Array
from .signs import Rows, Signs, largest

EXACT_ROWS = 32768
LEAST_CANDIDATES = 8192  # the fewer the vectors, the less the nearest stand out
BLOCK = 1024  # rows copied at a time, into the same room: fresh memory costs more than the copy


class Nearest:
    """Vectors to search in."""

    def __init__(self, vectors: Array) -> None:
        """vectors: (n, d) float32, of unit length; not copied."""
        self._vectors = vectors
        self._signs = Signs(vectors) if len(vectors) > EXACT_ROWS else None

    def search(self, query: Array, count: int, allowed: Rows | None = None) -> tuple[Rows, Array]:
        """Rows and cosines of the `count` nearest to `query` (d,), nearest first; fewer where there are fewer.

        allowed: only these rows, ascending.
        """
        rows = allowed
        if self._signs is not None and (rows is None or len(rows) > EXACT_ROWS):
            rows = self._signs.candidates(query, max(count, LEAST_CANDIDATES), rows)
        cosines = self._vectors @ query if rows is None else self._products(rows, query)
        best = largest(cosines, count)
        best = best[np.argsort(-cosines[best], kind="stable")]
        return (best if rows is None else rows[best]), cosines[best]

    def _products(self, rows: Rows, query: Array) -> Array:
        products = np.empty(len(rows), np.float32)
        room = np.empty((min(BLOCK, len(rows)), len(query)), np.float32)
        for start in range(0, len(rows), BLOCK):
            chosen = rows[start : start + BLOCK]
            # mode: with the default, numpy copies twice to leave `out` alone where an index is out of range
            block = np.take(self._vectors, chosen, axis=0, out=room[: len(chosen)], mode="clip")
            np.dot(block, query, out=products[start : start + BLOCK])
        return products
