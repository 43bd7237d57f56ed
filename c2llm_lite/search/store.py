"""The index on disk: one folder with one SQLite database, consistent at every moment.

    meta     what every vector was made with: another bundle's vectors do not compare, and are refused
    files    path, digest of the content (read.py), language
    texts    each distinct text once, with its vector: what is written twice in a tree is embedded once
    pieces   where a text stands: file, lines, symbol

A batch of files is one transaction: a kill loses the batch that was being embedded and nothing else. In SQLite's
write-ahead mode readers see the last whole state while one process writes. Vectors lie in the same database, as
float32, so that no second file can disagree with it.

SQLite comes with Python. sqlite-vec was skipped: it compares every float32 vector on one thread, so 200,000 vectors of
896 would cost 700 MB of reading a query, and a Python built without loadable extensions (macOS' own, many of pyenv's;
https://github.com/asg017/sqlite-vec/issues/83) cannot load it. LanceDB was skipped: a second database engine and Arrow
for what is one table of vectors, and an approximate index that has to be trained and built again as files change.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError, OutputError
from ..pma import Array
from .pieces import Piece

DATABASE = "index.sqlite"
LOCK = "writer.lock"
FORMAT = "1"
BUSY_SECONDS = 30.0  # how long a commit waits for another's: it takes milliseconds
READ_ROWS = 4096

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, digest TEXT NOT NULL, language TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS texts (
    id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, text TEXT NOT NULL, vector BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS pieces (
    file INTEGER NOT NULL REFERENCES files (id), text INTEGER NOT NULL REFERENCES texts (id),
    start INTEGER NOT NULL, end INTEGER NOT NULL, symbol TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS pieces_file ON pieces (file);
CREATE INDEX IF NOT EXISTS pieces_text ON pieces (text);
"""


class BusyError(OutputError):
    """Another process is writing to this index."""


@dataclass(frozen=True)
class CutFile:
    """A file as it goes into the index. pieces: with each text's sha256."""

    path: str
    digest: str
    language: str
    pieces: tuple[tuple[Piece, bytes], ...]


@dataclass(frozen=True)
class Place:
    """Where a text stands. start, end: lines, from 1."""

    text: int  # its row's id
    path: str
    language: str
    start: int
    end: int
    symbol: str


class Store:
    """An open index. Used from one thread; raises OutputError for whatever SQLite cannot do."""

    def __init__(self, folder: Path, identity: Mapping[str, str]) -> None:
        """Open the index in `folder`, made if there is none. identity: what decides a text's vector.

        Raises BundleError if the index was made with another identity; OutputError if it cannot be opened.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / DATABASE).exists() and any(p.name not in (DATABASE, LOCK) for p in folder.iterdir()):
                raise OutputError(f"{folder} contains other files and no index; pass an empty or a new folder")
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(
                f"cannot create the index {folder}: {error.strerror}; pass another folder with --index"
            ) from error
        self._read_only = (folder / DATABASE).exists() and not os.access(folder, os.W_OK)
        with self._told():
            # SQLite keeps shared memory beside a database that it reads, unless it is told that nobody writes.
            place = (
                f"{(folder / DATABASE).resolve().as_uri()}?mode=ro&immutable=1"
                if self._read_only
                else folder / DATABASE
            )
            self._connection = sqlite3.connect(place, timeout=BUSY_SECONDS, isolation_level=None, uri=self._read_only)
        try:
            self._open(dict(identity) | {"format": FORMAT})
        except BaseException:
            self._connection.close()
            raise

    def _open(self, identity: dict[str, str]) -> None:
        with self._told():
            if not self._read_only:
                self._connection.execute("PRAGMA journal_mode = WAL")
            # A commit survives a kill of the process; the last ones may be lost to a power cut, and are made again.
            self._connection.execute("PRAGMA synchronous = NORMAL")
            with self._transaction("IMMEDIATE" if not self._made() else "DEFERRED"):
                if not self._made():
                    for statement in _SCHEMA.split(";"):
                        self._connection.execute(statement)
                    self._connection.executemany("INSERT INTO meta VALUES (?, ?)", identity.items())
                meta = dict(self._connection.execute("SELECT name, value FROM meta"))
        if meta.get("format") != FORMAT:
            raise OutputError(
                f"{self.folder} was written by another version of c2llm-lite (format {meta.get('format')}); "
                "delete the folder, or pass another with --index"
            )
        if other := sorted(name for name, value in identity.items() if meta.get(name) != value):
            raise BundleError(
                f"{self.folder} was made with another {', '.join(other)} (its bundle is {meta.get('bundle', '')[:16]}, "
                f"this one {identity['bundle'][:16]}); use the same again, or pass another folder with --index"
            )

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one writer; raises BusyError if another process is, or the index is read-only.

        A kill lets go, as it does of every lock.
        """
        if self._read_only:
            raise BusyError(f"the index {self.folder} is read-only and was not updated")
        with self._told():
            lock = sqlite3.connect(self.folder / LOCK, timeout=0, isolation_level=None)
        try:
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise OutputError(f"cannot write to the index {self.folder}: {error}") from error
                raise BusyError(f"another process is writing to the index {self.folder}; wait for it to end") from None
            yield
        finally:
            lock.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[int]:
        """One state of the index for all reads within; yields a number that changes when another process commits."""
        with self._told(), self._transaction("DEFERRED"):
            self._connection.execute("SELECT count(*) FROM meta").fetchone()  # the state is taken at the first read
            yield self._connection.execute("PRAGMA data_version").fetchone()[0]

    def digests(self) -> dict[str, str]:
        """Each file's digest by its path."""
        with self._told():
            return dict(self._connection.execute("SELECT path, digest FROM files"))

    def has_text(self, sha256: bytes) -> bool:
        """Whether a text with this hash is stored."""
        with self._told():
            found = self._connection.execute("SELECT 1 FROM texts WHERE sha256 = ?", (sha256,)).fetchone()
        return found is not None

    def put(self, files: Iterable[CutFile], vectors: Mapping[bytes, Array]) -> None:
        """Replace these files in one transaction. vectors: by sha256, (d,) of each text that is not stored."""
        with self._told(), self._transaction("IMMEDIATE"):
            for file in files:
                self._remove(file.path)
                cursor = self._connection.execute(
                    "INSERT INTO files (path, digest, language) VALUES (?, ?, ?)",
                    (file.path, file.digest, file.language),
                )
                for piece, sha256 in file.pieces:
                    if sha256 in vectors:
                        self._connection.execute(
                            "INSERT INTO texts (sha256, text, vector) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                            (sha256, piece.text, vectors[sha256].astype("<f4").tobytes()),
                        )
                    self._connection.execute(
                        "INSERT INTO pieces VALUES (?, (SELECT id FROM texts WHERE sha256 = ?), ?, ?, ?)",
                        (cursor.lastrowid, sha256, piece.start, piece.end, piece.symbol),
                    )

    def remove(self, paths: Iterable[str]) -> None:
        """Remove these files in one transaction."""
        with self._told(), self._transaction("IMMEDIATE"):
            for path in paths:
                self._remove(path)

    def tidy(self) -> None:
        """Drop texts that stand nowhere any more. Kept until an update's end: code that moved is not embedded again."""
        with self._told(), self._transaction("IMMEDIATE"):
            self._connection.execute("DELETE FROM texts WHERE id NOT IN (SELECT text FROM pieces)")

    def vectors(self, dim: int) -> tuple[NDArray[np.int64], Array]:
        """Ids (n,), ascending, and vectors (n, dim) of all texts that are in a file.

        During an update, and after one that was stopped, the index also holds texts of files that have changed since.
        """
        placed = "WHERE id IN (SELECT text FROM pieces)"
        with self._told():
            (count,) = self._connection.execute(f"SELECT count(*) FROM texts {placed}").fetchone()
            ids, matrix = np.empty(count, np.int64), np.empty((count, dim), np.float32)
            cursor = self._connection.execute(f"SELECT id, vector FROM texts {placed} ORDER BY id")
            start = 0
            while rows := cursor.fetchmany(READ_ROWS):
                stop = start + len(rows)
                ids[start:stop] = [row[0] for row in rows]
                if any(len(row[1]) != 4 * dim for row in rows):
                    raise OutputError(f"{self.folder} is damaged; delete the folder and index again")
                matrix[start:stop] = np.frombuffer(b"".join(row[1] for row in rows), "<f4").reshape(-1, dim)
                start = stop
        return ids, matrix

    def places(self, text: int | None = None) -> list[Place]:
        """Where one text stands, or every text, by path and line."""
        query = (
            "SELECT pieces.text, path, language, start, end, symbol FROM pieces JOIN files ON files.id = pieces.file "
            + ("" if text is None else "WHERE pieces.text = ? ")
            + "ORDER BY path, start, end"
        )
        with self._told():
            return [Place(*row) for row in self._connection.execute(query, () if text is None else (text,))]

    def text(self, id_: int) -> tuple[str, bytes]:
        """A text and its sha256."""
        with self._told():
            found: tuple[str, bytes] = self._connection.execute(
                "SELECT text, sha256 FROM texts WHERE id = ?", (id_,)
            ).fetchone()
        return found

    def counts(self) -> dict[str, int]:
        """How many files, pieces and texts are stored."""
        with self._told():
            return {
                table: self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("files", "pieces", "texts")
            }

    def languages(self) -> list[str]:
        """The languages of the files, sorted."""
        with self._told():
            return [row[0] for row in self._connection.execute("SELECT DISTINCT language FROM files ORDER BY language")]

    def _made(self) -> bool:
        return bool(self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone())

    def _remove(self, path: str) -> None:
        self._connection.execute("DELETE FROM pieces WHERE file IN (SELECT id FROM files WHERE path = ?)", (path,))
        self._connection.execute("DELETE FROM files WHERE path = ?", (path,))

    @contextlib.contextmanager
    def _transaction(self, kind: str) -> Iterator[None]:
        self._connection.execute(f"BEGIN {kind}")
        try:
            yield
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors as an OutputError that says what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:  # disk full, no permission, locked
            raise OutputError(
                f"the index {self.folder}: {error}; fix that, or pass another folder with --index"
            ) from error
        except sqlite3.DatabaseError as error:
            raise OutputError(f"{self.folder} is damaged ({error}); delete the folder and index again") from error
