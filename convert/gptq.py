"""Rounding a matrix to 4 bits by what it does to its outputs: GPTQ (arXiv 2210.17323) on ggml's 4-bit grids.

Columns are rounded one after another, and what each rounds away is made up for by those that are still to come, as the
inputs' second moments tell. A block's scale is chosen when its turn comes, on the weights as they then stand.
"""

from __future__ import annotations

import numpy as np

from c2llm_lite.pma import Array

from .four_bit import BLOCK, LEVELS, Codes, Scales, nearest

DAMPING = 0.01  # of the mean diagonal of the second moments, added to it: GPTQ's own value
# A scale that clips the largest weight a little is often better: these are tried of the one that just reaches it.
SHRINKING = np.linspace(0.7, 1.1, 17, dtype=np.float32)


def round_matrix(weights: Array, moments: Array, kind: str) -> tuple[Codes, Scales]:
    """Codes (rows, width) and fp16 scales (rows, width / 32) of `weights` (rows, width), float32.

    moments: (width, width), the sum over calibration tokens of x·xᵀ, x the matrix's inputs.
    """
    levels = LEVELS[kind]
    rows, width = weights.shape
    left = weights.astype(np.float32)  # what is still to be rounded, as it stands
    factor = _inverse_factor(moments)  # upper triangular, (width, width)
    codes = np.empty((rows, width), np.uint8)
    scales = np.empty((rows, width // BLOCK), np.float16)
    for start in range(0, width, BLOCK):
        stop = start + BLOCK
        importance = (1 / np.square(np.diagonal(factor)[start:stop])).astype(np.float32)
        scale = _scales(left[:, start:stop], importance, levels)
        scales[:, start // BLOCK] = scale
        spread = scale.astype(np.float32)
        errors = np.empty((rows, BLOCK), np.float32)
        for column in range(start, stop):
            code = nearest(left[:, column] / spread, levels)
            codes[:, column] = code
            error = (left[:, column] - levels[code] * spread) / factor[column, column]  # (rows,)
            left[:, column:stop] -= np.outer(error, factor[column, column:stop])
            errors[:, column - start] = error
        left[:, stop:] -= errors @ factor[start:stop, stop:]
    return codes, scales


def _inverse_factor(moments: Array) -> Array:
    """U, upper triangular, with Uᵀ·U the inverse of the damped moments."""
    exact = moments.astype(np.float64)
    diagonal = np.diagonal(exact)
    # An input that is always 0 has no say: 1 keeps the matrix invertible.
    exact[np.diag_indices(len(exact))] += DAMPING * diagonal.mean() + (diagonal == 0)
    factor: Array = np.linalg.cholesky(np.linalg.inv(exact)).T.astype(np.float32)
    return factor


def _scales(block: Array, importance: Array, levels: Array) -> Scales:
    """The scale of each row's block (rows, 32) that leaves the least error, weighed by `importance` (32,); (rows,).

    Candidates put the weight of largest size on the grid's lowest or on its highest level; each is then refitted to the
    codes that it gives.
    """
    rows = np.arange(len(block))
    largest = block[rows, np.abs(block).argmax(axis=1)]
    largest = np.where(largest == 0, np.float32(1e-8), largest)
    best = np.full(len(block), np.inf, np.float32)
    chosen = np.ones(len(block), np.float16)
    for end in (levels[0], levels[-1]):
        for shrinking in SHRINKING:
            scale = largest / end * shrinking
            grid = levels[nearest(block / scale[:, None], levels)]
            scale = ((block * grid) @ importance / np.maximum(np.square(grid) @ importance, 1e-20)).astype(np.float16)
            scale = np.where(scale == 0, np.float16(6e-8), scale)
            spread = scale.astype(np.float32)[:, None]
            error = np.square(block - levels[nearest(block / spread, levels)] * spread) @ importance
            better = error < best
            best[better], chosen[better] = error[better], scale[better]
    return chosen
