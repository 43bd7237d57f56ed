"""A first choice among very many vectors, from one bit a component: which may be among the nearest.

Vectors, less their mean, are kept as sign bits, with each vector's mean absolute component, which is what its bits
stand for. The query is taken in QUERY_BITS bits a component, so that its product with the signs is QUERY_BITS times an
AND and a count of bits. (Signs against a query of signs alone would need five times as many candidates or more.)

For vectors without structure, the hardest there are, the estimate and the true product are correlated by
sqrt(2/π) = 0.80, less a little for the query's own rounding. The 10 nearest of 200,000 stand about 4.1 standard
deviations out, so that by the normal distribution 0.99 of them lie in the first 5% by the estimate; 1 in FRACTION is
taken. benchmarks/lab/search_speed.py measures it, on vectors with and without structure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..pma import Array

Rows = NDArray[np.int64]

FRACTION = 16
QUERY_BITS = 3  # 4 kept 0.997 of the nearest in place of 0.995, at a quarter more time (200,000 vectors)
CLIP = 3.0  # standard deviations; a component of the query beyond it counts as this
BLOCK = 4096  # vectors at a time: what is in work stays in a core's cache
THREE = 3  # counts of 64 bits that fit in 8 bits together; numpy adds those four times as fast as wider ones


class Signs:
    def __init__(self, vectors: Array) -> None:
        """vectors: (n, d) float32; not kept."""
        count, width = vectors.shape
        self._words = np.empty((-(-width // 64), count), np.uint64)  # a word's row after the other
        self._spread = np.empty(count, np.float32)
        mean = vectors.mean(axis=0)
        for start in range(0, count, BLOCK):
            centred = vectors[start : start + BLOCK] - mean
            self._words[:, start : start + BLOCK] = _words(centred > 0).T
            self._spread[start : start + BLOCK] = np.abs(centred).mean(axis=1)
        everything = np.full((1, len(self._words)), ~np.uint64(0))
        self._ones = _weighted_counts(self._words, everything).astype(np.float32)

    def candidates(self, query: Array, count: int, allowed: Rows | None = None) -> Rows:
        """The rows, ascending, that come first by the estimate; at least `count`. allowed: among these rows only."""
        # With query ≈ limit (2 levels / steps - 1) and vector ≈ mean + spread (2 bits - 1), their product is, but for a
        # factor and a term that all vectors share, spread (4 levels·bits / steps - 2 ones - 2 sum(levels) / steps + d).
        limit = CLIP * float(query.std()) or 1.0
        steps = 2**QUERY_BITS - 1
        levels = np.rint((np.clip(query, -limit, limit) / limit + 1) * (steps / 2)).astype(np.uint8)
        planes = np.stack([_words((levels >> bit & 1)[None] > 0)[0] for bit in range(QUERY_BITS)])
        products = _weighted_counts(self._words, planes).astype(np.float32)
        constant = np.float32(len(query) - 2 * int(levels.sum()) / steps)
        estimate = self._spread * (np.float32(4 / steps) * products - 2 * self._ones + constant)
        if allowed is not None:
            estimate = estimate[allowed]
        best = largest(estimate, max(count, len(estimate) // FRACTION))
        best.sort()
        return best if allowed is None else allowed[best]


def largest(values: Array, count: int) -> Rows:
    """Where the `count` largest of (n,) stand, in no order; all where there are fewer."""
    if count >= len(values):
        return np.arange(len(values))
    return np.argpartition(values, len(values) - count)[len(values) - count :]


def _words(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """(n, d) → (n, ceil(d / 64)), the last word filled with zeros."""
    packed = np.packbits(bits, axis=1)
    filled = np.zeros((len(bits), -(-bits.shape[1] // 64) * 8), np.uint8)
    filled[:, : packed.shape[1]] = packed
    return filled.view(np.uint64)


def _weighted_counts(words: NDArray[np.uint64], planes: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Bits that each vector shares with each plane, summed with plane p's weight 2^p.

    words: (w, n); planes: (p, w). Returns (n,).
    """
    height, count = words.shape
    found = np.zeros(count, np.uint32)
    shared = np.empty((height, BLOCK), np.uint64)
    ones = np.zeros((-(-height // THREE) * THREE, BLOCK), np.uint8)
    for start in range(0, count, BLOCK):
        block = words[:, start : start + BLOCK]
        size = block.shape[1]
        for weight, plane in enumerate(planes):
            np.bitwise_and(block, plane[:, None], out=shared[:, :size])
            np.bitwise_count(shared[:, :size], out=ones[:height, :size])
            threes = ones[0::THREE, :size] + ones[1::THREE, :size]
            threes += ones[2::THREE, :size]
            total = threes[0].astype(np.uint16)
            for row in threes[1:]:
                total += row
            found[start : start + BLOCK] += total.astype(np.uint32) << weight
    return found
