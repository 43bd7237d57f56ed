"""Reads the header of a GGUF file (ggml/docs/gguf.md) without trusting it.

llama.cpp aborts or crashes on many headers that are well-formed and wrong, so the engine compares this with the
manifest before llama.cpp opens the file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ...errors import ArgumentError

MAGIC, VERSION = b"GGUF", 3
ALIGNMENT = 32  # bytes; the format's default
LIMIT = 1 << 20  # bytes of header; that of 24 layers has 20 KB
LONGEST_NAME = 256  # bytes of a key, a string or a tensor's name
MOST_AXES = 4

Value = int | float | str
T = TypeVar("T")


@dataclass(frozen=True)
class TensorInfo:
    """One tensor's shape (rows last, as GGUF stores it), ggml's number of its type, and its offset in the data."""

    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True)
class Header:
    """The header's values and tensors in file order, where the data begins, and the size of the file."""

    values: dict[str, Value]
    tensors: dict[str, TensorInfo]
    data: int
    size: int


def read_header(path: Path) -> Header:
    """Raises ValueError for a header that is cut, too long, or holds what our converter does not write."""
    with path.open("rb") as file:
        cursor = _Cursor(file.read(LIMIT))
        size = file.seek(0, 2)
    if cursor.take(4) != MAGIC:
        raise ArgumentError("it does not start with GGUF")
    version, tensors, values = cursor.numbers("IQQ")
    if version != VERSION:
        raise ArgumentError(f"its GGUF version is {version}, not {VERSION}")
    found = _named(cursor, values, _value)
    infos = _named(cursor, tensors, _tensor)
    return Header(found, infos, cursor.place + -cursor.place % ALIGNMENT, size)


class _Cursor:
    """Takes values from the front of the header; ValueError if it ends too early."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.place = 0

    def take(self, count: int) -> bytes:
        if count > len(self._content) - self.place:
            raise ArgumentError(f"its header is truncated, or longer than {LIMIT} bytes")
        self.place += count
        return self._content[self.place - count : self.place]

    def numbers(self, form: str) -> tuple[int, ...]:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))

    def string(self) -> str:
        (length,) = self.numbers("Q")
        if length > LONGEST_NAME:
            raise ArgumentError(f"its header has a string of {length} bytes")
        return self.take(length).decode()


def _named(cursor: _Cursor, count: int, read: Callable[[_Cursor, str], T]) -> dict[str, T]:
    found: dict[str, T] = {}
    for _ in range(count):  # ends with the header, whatever the count says
        name = cursor.string()
        if name in found:
            raise ArgumentError(f"{name} occurs twice")
        found[name] = read(cursor, name)
    return found


def _value(cursor: _Cursor, name: str) -> Value:
    (kind,) = cursor.numbers("I")
    if kind == 4:
        return cursor.numbers("I")[0]
    if kind == 6:
        return cursor.numbers("f")[0]
    if kind == 8:
        return cursor.string()
    raise ArgumentError(f"{name} has a value of type {kind}")


def _tensor(cursor: _Cursor, name: str) -> TensorInfo:
    (axes,) = cursor.numbers("I")
    if not 1 <= axes <= MOST_AXES:
        raise ArgumentError(f"{name} has {axes} axes")
    shape = cursor.numbers(f"{axes}Q")
    kind, offset = cursor.numbers("IQ")
    return TensorInfo(shape, kind, offset)
