"""What is done to vectors after the model: unit length, fewer components, int8 and binary forms."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import ArgumentError
from .pma import Array

Precision = Literal["float32", "int8", "binary"]
PRECISIONS: tuple[Precision, ...] = ("float32", "int8", "binary")


def check(dim: int | None, precision: str, width: int) -> None:
    """Raises ValueError where vectors of `width` components cannot be given in this form."""
    if precision not in PRECISIONS:
        raise ArgumentError(f"precision is {precision!r}; it can be {', '.join(PRECISIONS)}")
    whole = isinstance(dim, int | np.integer) and not isinstance(dim, bool)
    if dim is not None and not (whole and 1 <= dim <= width):
        raise ArgumentError(f"dim is {dim!r}; this model's vectors have {width} components: give 1 to {width}")


def normalise(vectors: Array) -> Array:
    """Each row to unit length, so that a dot product is the cosine; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Array = (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)
    return unit


def encode(vectors: Array, precision: Precision) -> NDArray[Any]:
    """(n, d) float32 in the form asked for.

    "int8": round(127 x / max|x|) per vector, (n, d) int8. "binary": each component's sign bit (1 where positive),
    packed big-endian, (n, ceil(d / 8)) uint8. Raises ValueError for another word.
    """
    check(None, precision, vectors.shape[-1])
    if precision == "float32":
        return vectors
    if precision == "int8":
        largest = np.abs(vectors).max(axis=-1, keepdims=True)
        return np.rint(vectors * (127 / np.where(largest == 0, 1, largest))).astype(np.int8)
    return np.packbits(vectors > 0, axis=-1, bitorder="big")
