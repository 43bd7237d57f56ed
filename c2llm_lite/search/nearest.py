"""The nearest vectors to a query's: every product is taken.

Reading them is what takes the time: 200,000 vectors of 896 are 717 MB (benchmarks/results/search_speed.json). A first
pass over sign bits was tried and removed: at that size it saved a tenth of the time and lost one neighbor in 200.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..pma import Array

Rows = NDArray[np.int64]


def nearest(vectors: Array, query: Array, count: int, allowed: Rows | None = None) -> tuple[Rows, Array]:
    """Rows and cosines of the `count` nearest to `query`, nearest first; fewer if there are fewer.

    vectors: (n, d) float32, of unit length. query: (d,) float32, of unit length. allowed: only these rows.
    """
    return highest(vectors @ query, count, allowed)


def highest(scores: Array, count: int, allowed: Rows | None = None) -> tuple[Rows, Array]:
    """Rows and scores of the `count` highest, highest first. allowed: only these rows."""
    if allowed is not None:
        scores = scores[allowed]
    best = np.arange(len(scores))
    if count < len(scores):
        best = np.argpartition(scores, len(scores) - count)[len(scores) - count :]
    best = best[np.argsort(-scores[best], kind="stable")]
    return (best if allowed is None else allowed[best]), scores[best]
