"""An index read whole, every row checked: one that was damaged, lost or doubled is noticed before anything is found.

Tables are read from end to end (NOT INDEXED): an index of SQLite's may be damaged while the table is whole.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..pma import Array
from .checksums import TABLES, UNCHECKED, DamagedError, counted, of_file, of_piece, of_text


class File(NamedTuple):
    """A row of `files`. crc32: as stored, or 0 in format 1."""

    path: str
    digest: str
    language: str
    crc32: int


class Place(NamedTuple):
    """The place of a text. start, end: lines, from 1."""

    text: int  # its row's id
    path: str
    language: str
    start: int
    end: int
    symbol: str


@dataclass(frozen=True)
class Contents:
    """ids (n,), ascending, and vectors (n, d): of the texts that are in a file. places: of each, by path and line.

    embedded: (n,), whether a text has its vector yet; if not, the row is 0. The index also holds texts of files that
    have changed since.
    """

    ids: NDArray[np.int64]
    vectors: Array
    embedded: NDArray[np.bool_]
    places: dict[int, list[Place]] = field(default_factory=dict)

    def where(self, fits: Callable[[Place], bool]) -> dict[int, list[Place]]:
        """The places that fit, by text, of those texts that have one."""
        found: dict[int, list[Place]] = {}
        for text, places in self.places.items():
            if fitting := [place for place in places if fits(place)]:
                found[text] = fitting
        return found

    def languages(self) -> list[str]:
        """The languages of all places."""
        return sorted({place.language for places in self.places.values() for place in places})


def read(connection: sqlite3.Connection, dim: int) -> Contents:
    """All that is searched, within a transaction. Raises DamagedError; format 1 has no checksums to compare."""
    try:
        checked = _is_checked(connection)
        hashes, ids, vectors = _texts(connection, dim, checked)
        places = _places(connection, read_files(connection), hashes, checked)
    # A value of another type, or a row that is not there.
    except (TypeError, LookupError, AttributeError, OverflowError) as error:
        raise DamagedError(f"{type(error).__name__}: {error}") from error
    if len(places) < len(ids):
        placed = np.isin(ids, list(places))
        ids, vectors = ids[placed], vectors[placed]
    return Contents(ids, vectors, np.any(vectors, axis=1), places)


def read_files(connection: sqlite3.Connection) -> dict[int, File]:
    """The rows of `files` by id, within a transaction. Raises DamagedError."""
    checked = _is_checked(connection)
    found: dict[int, File] = {}
    columns = f"id, path, digest, language, {'crc32' if checked else '0'}"
    for id_, *values in connection.execute(f"SELECT {columns} FROM files NOT INDEXED"):
        file = File(*values)
        if not all(isinstance(value, str) for value in file[:3]) or (checked and of_file(*file[:3]) != file.crc32):
            raise DamagedError("a row of files is not as it was written")
        found[id_] = file
    _count(connection, "files", len(found), len({file.path for file in found.values()}), checked)
    return found


def _texts(
    connection: sqlite3.Connection, dim: int, checked: bool
) -> tuple[dict[int, bytes], NDArray[np.int64], Array]:
    """Each text's sha256 by id; ids and vectors."""
    (count,) = connection.execute("SELECT count(*) FROM texts").fetchone()
    ids, vectors = np.empty(count, np.int64), np.zeros((count, dim), np.float32)
    hashes: dict[int, bytes] = {}
    columns = f"id, sha256, vector, {'crc32' if checked else '0'}"
    cursor = connection.execute(f"SELECT {columns} FROM texts NOT INDEXED ORDER BY id")
    for row, (id_, sha256, vector, crc32) in enumerate(cursor):
        if len(vector) not in (0, 4 * dim) or (checked and of_text(sha256, vector) != crc32):
            raise DamagedError("a row of texts is not as it was written")
        ids[row] = id_
        if vector:
            vectors[row] = np.frombuffer(vector, "<f4")
        hashes[id_] = sha256
    _count(connection, "texts", len(hashes), len(set(hashes.values())), checked)
    if len(hashes) != count:  # SQLite counts an index's entries
        raise DamagedError("the index of texts has not as many entries as their table has rows")
    return hashes, ids, vectors


def _places(
    connection: sqlite3.Connection, files: dict[int, File], hashes: dict[int, bytes], checked: bool
) -> dict[int, list[Place]]:
    found: dict[int, list[Place]] = {}
    columns = f"file, text, start, end, symbol, {'crc32' if checked else '0'}"
    count = 0
    for file, text, start, end, symbol, crc32 in connection.execute(f"SELECT {columns} FROM pieces NOT INDEXED"):
        path, _, language, of_row = files[file]
        if checked and of_piece(of_row, hashes[text], start, end, symbol) != crc32:
            raise DamagedError("a row of pieces is not as it was written")
        found.setdefault(text, []).append(Place(text, path, language, start, end, symbol))
        count += 1
    _count(connection, "pieces", count, count, checked)
    for places in found.values():
        if len(places) > 1:
            places.sort()
    return found


def _is_checked(connection: sqlite3.Connection) -> bool:
    """Whether rows have checksums: not in format 1, which has no counts of rows either."""
    meta = dict(connection.execute("SELECT name, value FROM meta"))
    if meta.get("format") != UNCHECKED:
        return True
    if any(counted(table) in meta for table in TABLES):
        raise DamagedError("it says that it is of format 1 and has what format 2 added")
    return False


def _count(connection: sqlite3.Connection, table: str, rows: int, distinct: int, checked: bool) -> None:
    if checked:
        kept = connection.execute("SELECT value FROM meta WHERE name = ?", (counted(table),)).fetchone()
        if kept != (str(rows),):
            raise DamagedError(f"{table} has {rows} rows, which is not as many as were written")
    if distinct != rows:
        raise DamagedError(f"a row of {table} is there twice")
