"""The piece of code that `--like` names by a file and a line."""

from __future__ import annotations

from pathlib import Path

from ..errors import ArgumentError
from .pieces import Piece
from .read import SkippedError, decode, read_bytes
from .split import split


def piece_at(file: Path, line: int) -> Piece:
    """The smallest piece that covers a line of a file."""
    try:
        source = decode(read_bytes(file))
    except SkippedError as skipped:
        raise ArgumentError(f"{file} is {skipped.reason}; pass a file of code") from None
    pieces = split(file.name, source.text).pieces
    covering = [piece for piece in pieces if piece.start <= line <= piece.end]
    if not covering:
        starts = ", ".join(str(piece.start) for piece in pieces[:10])
        raise ArgumentError(f"{file}: no piece of code at line {line}; pieces start at lines {starts}")
    return min(covering, key=lambda piece: piece.end - piece.start)
