"""Rounds a matrix so that its outputs change least: GPTQ (arXiv 2210.17323).

Columns are rounded one after another, and later columns correct each one's error, according to the inputs' second
moments. A block's scale is chosen when it is reached, for the weights as corrected by then; scales that are stored
together, when the first of their blocks is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from c2llm_lite.pma import Array

from .grids import SMALLEST, Codes, Grid

DAMPING = 0.01  # of the mean diagonal of the second moments, added to it: GPTQ's own value
# A scale that clips the largest weight a little is often better: these are tried of the one that just reaches it.
SHRINKING = np.linspace(0.7, 1.1, 9, dtype=np.float32)
AT_ONCE = 256  # rows that are factored in one call
Scales = NDArray[np.float16] | Array
Floats = NDArray[np.floating[Any]]


def round_matrix(weights: Array, moments: Array, grid: Grid, scales: Array | None = None) -> tuple[Codes, Scales]:
    """Codes (rows, width) and scales (rows, width / block) of `weights` (rows, width), float32.

    moments: (width, width), the sum over calibration tokens of x·xᵀ, x the matrix's inputs. scales: where a format
    leaves no choice of them. Scales are in fp16, or in fp32 where blocks share a step (Grid.sharing).
    """
    factor = _inverse_factor(moments)  # upper triangular, (width, width)
    codes = np.empty(weights.shape, np.uint8)
    shape = len(weights), weights.shape[1] // grid.block
    chosen: Scales = np.empty(shape, np.float16) if grid.sharing == 1 else np.empty(shape, np.float32)
    left = weights.T.astype(np.float32)  # (width, rows): what is still to be rounded; a column is contiguous
    for start in range(0, len(left), grid.block):
        stop, number = start + grid.block, start // grid.block
        block, corner = left[start:stop], factor[start:stop, start:stop]
        if scales is not None:
            chosen[:, number] = scales[:, number]
        elif number % grid.sharing == 0:
            chosen[:, number : number + grid.sharing] = _scales_from(left, start, np.diagonal(factor), grid)
        scale = chosen[:, number].astype(np.float32) if scales is None else scales[:, number]
        divisor = np.where(scale == 0, np.float32(1), scale)  # with a scale of 0 weights are 0, whatever their codes
        errors = np.empty_like(block)  # (block, rows)
        for column in range(grid.block):
            code = grid.nearest(block[column] / divisor)
            codes[:, start + column] = code
            errors[column] = (block[column] - grid.levels[code] * scale) / corner[column, column]
            block[column:] -= np.outer(corner[column, column:], errors[column])
        left[stop:] -= factor[start:stop, stop:].T @ errors
    return codes, chosen


def _scales_from(left: Array, start: int, factor: Array, grid: Grid) -> Scales:
    """The scales (rows, sharing) of the blocks from column `start` on that are stored together."""
    found = []
    for begin in range(start, start + grid.sharing * grid.block, grid.block):
        part = slice(begin, begin + grid.block)
        found.append(best_scales(left[part].T, (1 / np.square(factor[part])).astype(np.float32), grid))
    return grid.storable(np.stack(found, axis=1))


def _inverse_factor(moments: Array) -> Array:
    """U, upper triangular, with Uᵀ·U the inverse of the damped moments."""
    return _inverse_of_factor(damped(moments)).astype(np.float32)


def _inverse_of_factor(whole: Floats) -> Floats:
    """The inverse of R, upper triangular, where `whole` is R·Rᵀ: half the work of inverting `whole` and factoring that.

    By halves, and not only for that: on several threads OpenBLAS' Cholesky factorization crashes above 16,000 rows, and
    the 7B has matrices 18,944 wide (OpenBLAS issue 2562).
    """
    if len(whole) <= AT_ONCE:
        return np.linalg.cholesky(np.linalg.inv(whole)).T
    half = len(whole) // 2
    found = np.zeros_like(whole)
    second = found[half:, half:] = _inverse_of_factor(whole[half:, half:])
    across = whole[:half, half:] @ second.T  # of R
    first = found[:half, :half] = _inverse_of_factor(whole[:half, :half] - across @ across.T)
    found[:half, half:] = -first @ (across @ second)
    return found


def damped(moments: Array) -> NDArray[np.float64]:
    """The moments (width, width) with a little on their diagonal: invertible, and less sure of inputs seldom seen."""
    exact = moments.astype(np.float64)
    diagonal = np.diagonal(exact)
    # An input that is always 0 has no say: 1 keeps the matrix invertible.
    exact[np.diag_indices(len(exact))] += DAMPING * diagonal.mean() + (diagonal == 0)
    return exact


def best_scales(block: Array, importance: Array, grid: Grid) -> NDArray[np.float16]:
    """The scale (rows,) of each row's block (rows, width) that leaves the least error.

    importance: (width,), what a column's squared error weighs.
    Candidates put the weight of largest size on the grid's lowest or on its highest level; each is then refitted to the
    codes that it gives.
    """
    rows = np.arange(len(block))
    largest = block[rows, np.abs(block).argmax(axis=1)]
    largest = np.where(largest == 0, np.float32(1e-8), largest)
    weighed = block * importance
    best = np.full(len(block), -np.inf, np.float32)
    chosen = np.ones(len(block), np.float32)
    for end in (grid.levels[0], grid.levels[-1]):
        for shrinking in SHRINKING:
            levels = grid.levels[grid.nearest(block / (largest / end * shrinking)[:, None])]
            matched = np.einsum("rw,rw->r", weighed, levels)
            size = np.maximum(np.square(levels) @ importance, 1e-20)
            explained = matched * matched / size  # of the block's weighed square, with the scale refitted
            better = explained > best
            best[better], chosen[better] = explained[better], (matched / size)[better]
    scales = chosen.astype(np.float16)
    scales[scales == 0] = SMALLEST
    return scales
