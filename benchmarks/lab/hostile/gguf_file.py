"""Takes a GGUF file apart, so that any part of it can be made wrong (format: ggml/docs/gguf.md).

Values are kept as their bytes, types and offsets as numbers: nothing here is checked, on purpose.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import Any

U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = 4, 5, 6, 7, 8, 9, 10, 11, 12
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}
ALIGNMENT = 32
# Type number: weights and bytes of a block (ggml.h).
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 8: (32, 34), 12: (256, 144), 14: (256, 210)}
BLOCKS |= {20: (32, 18), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 30: (1, 2)}


@dataclass(frozen=True)
class Value:
    """A key's type and its value's bytes."""

    key: bytes
    type: int
    raw: bytes


@dataclass(frozen=True)
class TensorInfo:
    """dims: as the file has them, the fastest first. offset: from the beginning of the data."""

    name: bytes
    dims: tuple[int, ...]
    type: int
    offset: int


@dataclass(frozen=True)
class GgufFile:
    """A file's parts; counts: what the header claims, None for what is there."""

    values: tuple[Value, ...]
    tensors: tuple[TensorInfo, ...]
    data: bytes
    magic: bytes = b"GGUF"
    version: int = 3
    counts: tuple[int | None, int | None] = field(default=(None, None))  # tensors, keys

    def with_value(self, key: str, type_: int, value: Any) -> GgufFile:
        """With this key set to this value, in place or at the end."""
        new = Value(key.encode(), type_, packed(type_, value))
        kept = tuple(new if old.key == new.key else old for old in self.values)
        return replace(self, values=kept if new in kept else (*self.values, new))

    def with_tensor(self, index: int, **parts: Any) -> GgufFile:
        """With these parts of one tensor's entry replaced."""
        tensors = list(self.tensors)
        tensors[index] = replace(tensors[index], **parts)
        return replace(self, tensors=tuple(tensors))

    def laid_out(self) -> GgufFile:
        """With offsets and zeros for data such that every tensor's own type and shape fit."""
        tensors, end = [], 0
        for tensor in self.tensors:
            tensors.append(replace(tensor, offset=end))
            end += -(-_bytes(tensor) // ALIGNMENT) * ALIGNMENT
        return replace(self, tensors=tuple(tensors), data=bytes(end))

    def header(self) -> bytes:
        """All before the data, without padding."""
        tensors, keys = self.counts
        claimed = (len(self.tensors) if tensors is None else tensors, len(self.values) if keys is None else keys)
        parts = [self.magic, struct.pack("<IQQ", self.version, *claimed)]
        for value in self.values:
            parts += [_string(value.key), struct.pack("<I", value.type), value.raw]
        for tensor in self.tensors:
            parts += [_string(tensor.name), struct.pack("<I", len(tensor.dims))]
            parts += [
                struct.pack(f"<{len(tensor.dims)}Q", *tensor.dims),
                struct.pack("<IQ", tensor.type, tensor.offset),
            ]
        return b"".join(parts)

    def content(self) -> bytes:
        """The whole file."""
        header = self.header()
        return header + bytes(-len(header) % ALIGNMENT) + self.data


def read(content: bytes) -> GgufFile:
    """Take a valid file apart."""
    tensor_count, value_count = struct.unpack_from("<QQ", content, 8)
    at = 24
    values, tensors = [], []
    for _ in range(value_count):
        key, at = _take(content, at)
        (type_,) = struct.unpack_from("<I", content, at)
        start = at = at + 4
        if type_ == STRING:
            _, at = _take(content, at)
        else:
            at += struct.calcsize(_FORMATS[type_])
        values.append(Value(key, type_, content[start:at]))
    for _ in range(tensor_count):
        name, at = _take(content, at)
        (count,) = struct.unpack_from("<I", content, at)
        dims = struct.unpack_from(f"<{count}Q", content, at + 4)
        type_, offset = struct.unpack_from("<IQ", content, at + 4 + 8 * count)
        at += 16 + 8 * count
        tensors.append(TensorInfo(name, dims, type_, offset))
    return GgufFile(tuple(values), tuple(tensors), content[at + -at % ALIGNMENT :])


def packed(type_: int, value: Any) -> bytes:
    """A value's bytes; an array is given as (type, list)."""
    if type_ == STRING:
        return _string(value if isinstance(value, bytes) else value.encode())
    if type_ == ARRAY:
        inner, items = value
        return struct.pack("<IQ", inner, len(items)) + b"".join(packed(inner, item) for item in items)
    return struct.pack(f"<{_FORMATS[type_]}", value)


def _bytes(tensor: TensorInfo) -> int:
    weights, size = BLOCKS.get(tensor.type, (1, 8))
    count = 1
    for dim in tensor.dims:
        count *= dim
    return -(-count // weights) * size


def _string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def _take(content: bytes, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from("<Q", content, at)
    return content[at + 8 : at + 8 + length], at + 8 + length
