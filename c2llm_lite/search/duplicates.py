"""Finds pairs of near-identical vectors from all products, in blocks: exact, with bounded memory."""

from __future__ import annotations

import numpy as np

from ..errors import ArgumentError
from ..pma import Array
from ..progress import Advance

BLOCK = 1024  # rows at a time, against COLUMNS others: 64 MB of products
COLUMNS = 16384
MOST = 200_000  # pairs; a threshold that admits more is not useful


def pairs(vectors: Array, threshold: float, advance: Advance) -> list[tuple[int, int, float]]:
    """(row, later row, cosine) of at least `threshold`, the nearest first. vectors: (n, d) float32, of unit length.

    advance: called with the number of rows done. Raises ValueError if more than MOST pairs are that near.
    """
    rows: list[Array] = []
    found = 0
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        for column in range(start, len(vectors), COLUMNS):
            products = block @ vectors[column : column + COLUMNS].T
            left, right = np.nonzero(products >= threshold)
            later = right + column > left + start
            left, right = left[later], right[later]
            found += len(left)
            if found > MOST:
                raise ArgumentError(
                    f"more than {MOST:,} pairs have a cosine of at least {threshold}; pass a higher threshold"
                )
            rows.append(np.stack([left + start, right + column, products[left, right].astype(np.float64)], axis=1))
        advance(len(block))
    if not rows:
        return []
    every = np.concatenate(rows)
    ordered = every[np.lexsort((every[:, 1], every[:, 0], -every[:, 2]))]
    return [(int(a), int(b), float(cosine)) for a, b, cosine in ordered]
