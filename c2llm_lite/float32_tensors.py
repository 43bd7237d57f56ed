"""Reads the small safetensors files of a bundle, whose tensors are all float32."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from safetensors.numpy import load

from .errors import ArgumentError, BundleError
from .pma import Array

MOST_HEADER = 1 << 20  # bytes; a header of millions of tensors takes minutes


def read_float32(path: Path, names: Iterable[str]) -> dict[str, Array]:
    """A file's tensors by name. Raises BundleError if one of `names` is missing or any is of another type."""
    try:
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        if length > MOST_HEADER:
            raise ArgumentError(f"its header has {length} bytes")
        tensors: dict[str, Array] = load(content)
    except Exception as error:  # a type that NumPy lacks is a TypeError or AttributeError
        raise BundleError(f"{path} cannot be read: {error}; copy the bundle again, or convert again") from error
    for name in names:
        if name not in tensors:
            raise BundleError(f"{path} has no {name}; copy the bundle again, or convert again")
    for name, tensor in tensors.items():
        if tensor.dtype.str != "<f4":
            raise BundleError(
                f"{path}: {name:.80} is {tensor.dtype}, not float32; copy the bundle again, or convert again"
            )
    return tensors
