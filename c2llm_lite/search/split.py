"""A file's language and pieces: code by its definitions, a notebook by its cells, tables of data by their beginning."""

from __future__ import annotations

from dataclasses import dataclass, replace

from . import notebooks
from .languages import TEXT, language_of
from .pieces import Piece, cut
from .tables import without_tables


@dataclass(frozen=True)
class Split:
    """tables: pieces that were left out because they only go on with a table of data."""

    language: str
    pieces: list[Piece]
    tables: int


def split(path: str, text: str) -> Split:
    """Split a file. text: as decode() returns it. Raises MissingDependencyError."""
    if path.lower().endswith(notebooks.SUFFIX):
        language = notebooks.language(text)
        pieces = [
            replace(piece, start=piece.start + cell.start - 1, end=piece.end + cell.start - 1)
            for cell in notebooks.cells(text)
            for piece in cut(cell.text, language if cell.code else TEXT)
        ]
    else:
        language = language_of(path, text)
        pieces = cut(text, language)
    kept, left_out = without_tables(pieces)
    return Split(language, kept, left_out)
