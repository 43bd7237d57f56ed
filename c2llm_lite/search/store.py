"""The index on disk: one folder with one SQLite database, consistent at every moment.

    meta     what every vector was made with: another bundle's vectors do not compare, and are refused
    files    path, digest of the content (read.py), language
    texts    each distinct text once, with its vector: what is written twice in a tree is embedded once
    pieces   the places of a text: file, lines, symbol
    lexical  the words of each piece (lexical.py); rebuilt from the other tables where it is missing

Each row has a checksum (checksums.py), and meta the number of each table's rows. Format 1 had neither: such an index is
read unchecked, and its next update adds them.

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

from ..errors import BundleError, OutputError
from ..pma import Array
from . import checksums, contents
from .checksums import UNCHECKED, DamagedError, counted
from .contents import Contents
from .lexical import Lexical
from .pieces import Piece

DATABASE = "index.sqlite"
LOCK = "writer.lock"
FORMAT = "2"
BUSY_SECONDS = 30.0  # how long a commit waits for another's: it takes milliseconds

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, digest TEXT NOT NULL, language TEXT NOT NULL,
    crc32 INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS texts (
    id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, text TEXT NOT NULL, vector BLOB NOT NULL,
    crc32 INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS pieces (
    file INTEGER NOT NULL REFERENCES files (id), text INTEGER NOT NULL REFERENCES texts (id),
    start INTEGER NOT NULL, end INTEGER NOT NULL, symbol TEXT NOT NULL, crc32 INTEGER NOT NULL);
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
            # SQLite keeps shared memory beside a database that it reads, unless it knows that nobody writes.
            place = (
                f"{(folder / DATABASE).resolve().as_uri()}?mode=ro&immutable=1"
                if self._read_only
                else folder / DATABASE
            )
            self._connection = sqlite3.connect(place, timeout=BUSY_SECONDS, isolation_level=None, uri=self._read_only)
        try:
            self._open(dict(identity))
        except BaseException:
            self._connection.close()
            raise

    def _open(self, identity: dict[str, str]) -> None:
        with self._told():
            if not self._read_only:
                self._connection.execute("PRAGMA journal_mode = WAL")
            # A commit survives a kill of the process; the last ones may be lost to a power cut, and are made again.
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self.lexical = Lexical(self._connection)
            with self._transaction("IMMEDIATE" if not self._made() else "DEFERRED"):
                if not self._made():
                    for statement in _SCHEMA.split(";"):
                        self._connection.execute(statement)
                    new = identity | {"format": FORMAT} | {counted(table): "0" for table in checksums.TABLES}
                    self._connection.executemany("INSERT INTO meta VALUES (?, ?)", new.items())
                    self.lexical.bring_up()
                meta = self._meta()
        if meta.get("format") not in (FORMAT, UNCHECKED):
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
                raise BusyError(f"another process is writing to the index {self.folder}: wait for it to end") from None
            except sqlite3.DatabaseError as error:
                raise OutputError(f"{self.folder / LOCK} is damaged ({error}): delete that file") from error
            self._upgrade()
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
        with self._told(), self._transaction("DEFERRED"):
            return {file.path: file.digest for file in contents.read_files(self._connection).values()}

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
                row = (file.path, file.digest, file.language)
                crc32 = checksums.of_file(*row)
                insert = "INSERT INTO files (path, digest, language, crc32) VALUES (?, ?, ?, ?)"
                id_ = self._changed("files", insert, (*row, crc32)).lastrowid
                for piece, sha256 in file.pieces:
                    if sha256 in vectors:
                        self._add_text(sha256, piece.text, vectors[sha256].astype("<f4").tobytes())
                    self._changed(
                        "pieces",
                        "INSERT INTO pieces (file, text, start, end, symbol, crc32) "
                        "VALUES (?, (SELECT id FROM texts WHERE sha256 = ?), ?, ?, ?, ?)",
                        (
                            *(id_, sha256, piece.start, piece.end, piece.symbol),
                            checksums.of_piece(crc32, sha256, piece.start, piece.end, piece.symbol),
                        ),
                    )
                self.lexical.add(file.path)
            self.lexical.changed()

    def remove(self, paths: Iterable[str]) -> None:
        """Remove these files in one transaction."""
        with self._told(), self._transaction("IMMEDIATE"):
            for path in paths:
                self._remove(path)
            self.lexical.changed()

    def tidy(self) -> None:
        """Drop texts that stand nowhere any more. Kept until an update's end: code that moved is not embedded again."""
        with self._told(), self._transaction("IMMEDIATE"):
            self._changed("texts", "DELETE FROM texts WHERE id NOT IN (SELECT text FROM pieces)")

    def contents(self, dim: int) -> Contents:
        """All that is searched, every row checked. Raises OutputError where one is damaged or lost."""
        with self._told():
            return contents.read(self._connection, dim)

    def text(self, id_: int) -> tuple[str, bytes]:
        """A text and its sha256, by which it is checked."""
        with self._told():
            found = self._connection.execute("SELECT text, sha256 FROM texts WHERE id = ?", (id_,)).fetchone()
            if found is None or not checksums.is_text(*found):
                raise DamagedError("a text is not as it was written")
        text, sha256 = found
        return text, sha256

    def counts(self) -> dict[str, int]:
        """How many files, pieces and texts are stored."""
        with self._told():
            return {
                table: self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("files", "pieces", "texts")
            }

    def _made(self) -> bool:
        return bool(self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone())

    def _remove(self, path: str) -> None:
        self.lexical.remove(path)
        of_path = "DELETE FROM pieces WHERE file IN (SELECT id FROM files WHERE path = ?)"
        self._changed("pieces", of_path, (path,))
        self._changed("files", "DELETE FROM files WHERE path = ?", (path,))

    def _add_text(self, sha256: bytes, text: str, vector: bytes) -> None:
        self._changed(
            "texts",
            "INSERT INTO texts (sha256, text, vector, crc32) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (sha256, text, vector, checksums.of_text(sha256, vector)),
        )

    def _changed(self, table: str, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        """Insert or delete rows and keep count of them, within a transaction.

        Not by counting what is there: rows that were lost would be counted out.
        """
        cursor = self._connection.execute(statement, values)
        if cursor.rowcount:
            change = -cursor.rowcount if statement.startswith("DELETE") else cursor.rowcount
            self._connection.execute("UPDATE meta SET value = value + ? WHERE name = ?", (change, counted(table)))
        return cursor

    def _upgrade(self) -> None:
        """Add what an index of an earlier version lacks. Vectors stay."""
        with self._told(), self._transaction("IMMEDIATE"):
            if self._meta().get("format") == UNCHECKED:
                checksums.add(self._connection)
                self._connection.execute("UPDATE meta SET value = ? WHERE name = 'format'", (FORMAT,))
            self.lexical.bring_up()

    def _meta(self) -> dict[str, str]:
        return dict(self._connection.execute("SELECT name, value FROM meta"))

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
                f"the index {self.folder}: {error}; mend that, delete the folder, or name another with --index"
            ) from error
        except (sqlite3.DatabaseError, UnicodeDecodeError, DamagedError) as error:
            raise OutputError(f"{self.folder} is damaged ({error}): delete the folder and index again") from error
