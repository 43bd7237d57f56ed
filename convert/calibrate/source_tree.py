"""The definitions of a source tree, in every language that search cuts, in two parts that share no file.

`--calibrate FOLDER` takes its texts from one part and `bench --data repo:FOLDER` is scored on the other, so that
nothing is scored that was calibrated on, in whatever order the two commands run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from c2llm_lite.errors import ArgumentError
from c2llm_lite.search.languages import LANGUAGES, language_of
from c2llm_lite.search.pieces import Piece, cut
from c2llm_lite.search.read import SkippedError, decode, read_bytes
from c2llm_lite.search.walk import files

from .documentation import is_long_enough, parted
from .documented_code import TESTS

CALIBRATION_SHARE = 4  # one file in so many


@dataclass(frozen=True)
class Definition:
    """path: below the folder, with /. start, end: lines, from 1. query: its documentation's first paragraph, or ""."""

    path: str
    start: int
    end: int
    symbol: str
    query: str
    code: str


@dataclass(frozen=True)
class SourceFile:
    """A file with a grammar. text: its lines end with line feeds alone."""

    path: str
    language: str
    text: str

    def definitions(self) -> Iterator[Definition]:
        """Those of lines enough; not tests, nor what is too long to be one piece."""
        pieces = [piece for piece in cut(self.text, self.language) if piece.symbol]
        for piece in pieces:
            if "test" in piece.symbol.lower() or any(_windows(piece, other) for other in pieces):
                continue
            query, code = parted(piece.text, self.language)
            if is_long_enough(code):
                yield Definition(self.path, piece.start, piece.end, piece.symbol, query, code)


def source_files(folder: Path, *, to_calibrate: bool) -> Iterator[SourceFile]:
    """The files of one of the two parts, in an order that is arbitrary and always the same.

    What search leaves out is left out, and tests. Raises ArgumentError if the folder cannot be listed.
    """
    found = []
    try:
        for path in files(folder, lambda path, error: None):
            *folders, name = path.split("/")
            is_test = TESTS.intersection(folders) or name.lower().startswith("test_") or "test." in name.lower()
            if not is_test and _calibrates(folder / path) == to_calibrate:
                found.append(path)
    except OSError as error:
        raise ArgumentError(f"{folder} cannot be read: {error.strerror or error}") from error
    for path in sorted(found, key=_order):
        try:
            text = decode(read_bytes(folder / path)).text
        except (OSError, SkippedError):
            continue
        if (language := language_of(path, text)) in LANGUAGES:
            yield SourceFile(path, language, text)


def _windows(piece: Piece, other: Piece) -> bool:
    """Whether they are windows of one long definition: these have its name and overlap."""
    return other is not piece and other.symbol == piece.symbol and other.start <= piece.end and piece.start <= other.end


def _calibrates(path: Path) -> bool:
    """By the file's name and its folder's, so that it does not depend on which folder above was given."""
    return _hash("/".join(path.resolve().parts[-2:])) % CALIBRATION_SHARE == 0


def _order(path: str) -> int:
    return _hash(path)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:8], "big")
