"""One safetensors file, read lazily: its header checked in full, its tensors mapped from the disk when asked for.

The safetensors library's NumPy reader knows no bfloat16 (release 0.8: neither its table of types nor NumPy has it) and
C2LLM is stored in it, so the format is read here, after its specification:
https://github.com/huggingface/safetensors#format. A file is 8 bytes of header length, a JSON header, and the tensors'
bytes without gaps or overlaps. No length is believed before it is checked.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from c2llm_lite.errors import ArgumentError, CheckpointError

Dtype = Literal["BF16", "F16", "F32"]
Stored = NDArray[np.uint16] | NDArray[np.float16] | NDArray[np.float32]

# NumPy has no bfloat16: its bits are kept as uint16, which loses nothing.
_NUMPY: dict[Dtype, np.dtype[Any]] = {"BF16": np.dtype("<u2"), "F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
_LENGTH_BYTES = 8
# The format allows 100 MB. C2LLM's headers have 400 tensors in 50 kB; a million tensors take most of a minute to read.
_MAX_HEADER = 4_000_000
_MAX_TENSORS = 20_000
_MAX_AXES = 8
_MAX_NUMBER = 2**63 - 1
_CHECKED_AT_ONCE = 1 << 20  # elements: bounds the memory that the search for NaN and infinity takes


@dataclass(frozen=True)
class StoredTensor:
    """The place of a tensor: `name` as the file has it, `start` in bytes from the beginning of the file."""

    path: Path
    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    start: int

    @property
    def bytes(self) -> int:
        """Its size in the file."""
        return math.prod(self.shape) * _NUMPY[self.dtype].itemsize

    def read(self) -> Stored:
        """The stored values, mapped read-only.

        Raises CheckpointError if one of them is NaN or infinite, or the file cannot be read any longer.
        """
        if not math.prod(self.shape):
            return np.empty(self.shape, _NUMPY[self.dtype])
        try:
            with reading(self.path):
                mapped = np.memmap(self.path, _NUMPY[self.dtype], "r", self.start, self.shape)
        except ValueError as error:  # beyond the file's end
            raise CheckpointError(f"{self.path} changed while it was read ({error}); convert it again") from error
        values: Stored = mapped.view(np.ndarray)
        flat = values.reshape(-1)
        for first in range(0, flat.size, _CHECKED_AT_ONCE):
            finite = np.isfinite(widen(flat[first : first + _CHECKED_AT_ONCE], self.dtype))
            if not finite.all():
                place = np.unravel_index(first + int(np.argmin(finite)), self.shape)
                raise CheckpointError(
                    f"{self.path.name}: {self.name} contains NaN or infinity, first at {[int(i) for i in place]}; "
                    "the file is damaged or its training diverged; download it again"
                )
        return values


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise CheckpointError, with the reason, where a file of a checkpoint is not to be read."""
    try:
        yield
    except PermissionError as error:
        raise CheckpointError(f"{path} cannot be read by this user; change its permissions, or copy it") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}; copy it again") from error


def widen(values: Stored, dtype: Dtype) -> NDArray[np.float32]:
    """Stored values -> float32, exact for all three types; fp32 is not copied."""
    if dtype == "BF16":  # bfloat16 is the upper half of a float32
        bits = values.astype(np.uint32)
        bits <<= 16
        return bits.view(np.float32)
    return values.astype(np.float32, copy=False)


def bf16_bits(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """float32 -> the bits of bf16, rounded to nearest, ties to even; for finite values."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded: NDArray[np.uint16] = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return rounded


def read_header(path: Path) -> list[StoredTensor]:
    """Every tensor of the file. Raises CheckpointError if the file breaks the format or holds another type."""
    with reading(path), path.open("rb") as file:
        size = path.stat().st_size
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if size < _LENGTH_BYTES or length > size - _LENGTH_BYTES:
            raise _broken(path, f"its header's length, {length} bytes, does not fit in its {size} bytes")
        if length > _MAX_HEADER:
            raise CheckpointError(f"{path.name} has a header of {length:,} bytes; C2LLM's take about 50,000")
        text = file.read(length)
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"its header is not valid JSON ({error})") from error
    if not isinstance(header, dict):
        raise _broken(path, "its header is not a JSON object")
    header.pop("__metadata__", None)
    if len(header) > _MAX_TENSORS:
        raise CheckpointError(
            f"{path.name} holds {len(header):,} tensors; C2LLM has a few hundred, so it is another model"
        )

    data = _LENGTH_BYTES + length
    placed = [_place(path, name, entry, data) for name, entry in header.items()]
    end = data
    for tensor, tensor_end in sorted(placed, key=lambda pair: (pair[0].start, pair[1])):
        if tensor.start != end:
            raise _broken(path, f"tensor {tensor.name} does not start where the previous tensor ends")
        end = tensor_end
    if end != size:
        raise _broken(path, f"its tensors end at byte {end}, the file at byte {size}")
    return [tensor for tensor, _ in placed]


def _place(path: Path, name: str, entry: object, data: int) -> tuple[StoredTensor, int]:
    """One entry of the header -> the tensor and the byte at which it ends."""
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise _broken(path, f"the entry of tensor {name} lacks its dtype, shape or data_offsets")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in _NUMPY:
        raise CheckpointError(
            f"{path.name}: tensor {name} is stored as {str(entry['dtype'])[:40]}; only BF16, F16 and F32 are "
            "supported, so use the checkpoint that was not quantized"
        )
    if not _natural(entry["shape"]) or not _natural(entry["data_offsets"]) or len(entry["data_offsets"]) != 2:
        raise _broken(path, f"the shape or the offsets of tensor {name} are not non-negative integers")
    dtype, shape = entry["dtype"], tuple(entry["shape"])
    start, end = entry["data_offsets"]
    if end - start != math.prod(shape) * _NUMPY[dtype].itemsize:
        raise _broken(path, f"tensor {name} of shape {shape} in {dtype} does not fill its {end - start} bytes")
    return StoredTensor(path, name, dtype, shape, data + start), data + end


def _natural(numbers: object) -> bool:
    return (
        isinstance(numbers, list)
        and len(numbers) <= _MAX_AXES
        and all(type(number) is int and 0 <= number <= _MAX_NUMBER for number in numbers)
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ArgumentError("a name occurs twice")
    return found


def _broken(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"{path.name} is not a complete safetensors file: {why}; download it again")
