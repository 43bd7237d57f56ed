"""Postprocessing of vectors: unit length, fewer components, int8 and binary formats."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import ArgumentError
from .pma import Array

Precision = Literal["float32", "int8", "binary"]
PRECISIONS: tuple[Precision, ...] = ("float32", "int8", "binary")


def check(dim: int | None, precision: str, width: int) -> None:
    """Raise ArgumentError if vectors of `width` components cannot have this dim and precision."""
    if precision not in PRECISIONS:
        raise ArgumentError(f"precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}")
    whole = isinstance(dim, int | np.integer) and not isinstance(dim, bool)
    if dim is not None and not (whole and 1 <= dim <= width):
        raise ArgumentError(f"dim is {dim!r}; this model's vectors have {width} components, so pass 1 to {width}")


def normalize(vectors: Array) -> Array:
    """Scale each row to unit length, so that a dot product is the cosine. Rows of zeros are unchanged."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Array = (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)
    return unit


def encode(vectors: Array, precision: Precision) -> NDArray[Any]:
    """Convert (n, d) float32 vectors to a precision.

    "int8": round(127 x / max|x|) of each vector, (n, d) int8. "binary": each component's sign bit (1 if positive),
    packed big-endian, (n, ceil(d / 8)) uint8. Raises ArgumentError for any other precision.
    """
    check(None, precision, vectors.shape[-1])
    if precision == "float32":
        return vectors
    if precision == "int8":
        largest = np.abs(vectors).max(axis=-1, keepdims=True)
        return np.rint(vectors * (127 / np.where(largest == 0, 1, largest))).astype(np.int8)
    return np.packbits(vectors > 0, axis=-1, bitorder="big")
