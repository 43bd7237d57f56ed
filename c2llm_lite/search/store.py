"""The index on disk: one folder with one SQLite database, consistent at every moment.

    meta     what every vector was made with: another bundle's vectors do not compare, and are refused
    files    path, digest of the content (read.py), language, and the file's status, by which a change is noticed
    skipped  files that are not indexed because of their content, with their status: they are not read again
    texts    each distinct text once, with its vector if it has one yet: what is there twice is embedded once (texts.py)
    unused   texts that no file holds any more, and since when
    pieces   the places of a text: file, lines, symbol
    lexical  the words of each piece (lexical.py); rebuilt from the other tables where it is missing

Each row has a checksum (checksums.py), and meta the number of each table's rows. Format 1 had neither: such an index is
read unchecked, and its next update adds them (schema.py).

A batch of files, or of vectors, is one transaction: a kill loses that and nothing else. In SQLite's write-ahead mode
readers see the last whole state while one process writes. Vectors lie in the same database, as float32, so that no
second file can disagree with it.

SQLite comes with Python. sqlite-vec was skipped: it compares every float32 vector on one thread, so 200,000 vectors of
896 would cost 700 MB of reading a query, and a Python built without loadable extensions (macOS' own, many of pyenv's;
https://github.com/asg017/sqlite-vec/issues/83) cannot load it. LanceDB was skipped: a second database engine and Arrow
for what is one table of vectors, and an approximate index that has to be trained and built again as files change.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..pma import Array
from . import checksums, contents, texts
from .checksums import change
from .contents import Contents
from .database import Database
from .pieces import CUTTING, Piece

CUT_BY = "cutting"  # in meta: the rules that the files were split by; all are read again if others hold now
FOLDER = "folder"  # in meta: the folder that is indexed


class Status(NamedTuple):
    """What shows that a file has changed. mtime: in nanoseconds; -1 where a change might not show."""

    size: int
    mtime: int
    inode: int


UNKNOWN = Status(0, -1, 0)


class Known(NamedTuple):
    """A file in the index."""

    digest: str
    status: Status


@dataclass(frozen=True)
class CutFile:
    """A file as it goes into the index. pieces: with each text's sha256."""

    path: str
    digest: str
    language: str
    status: Status
    pieces: tuple[tuple[Piece, bytes], ...]


class Store(Database):
    """An open index."""

    def files(self) -> dict[str, Known]:
        """The files of the index by path."""
        with self.as_output_error(), self.transaction("DEFERRED"):
            digests = {file.path: file.digest for file in contents.read_files(self.connection).values()}
            rows = self.connection.execute("SELECT path, size, mtime, inode FROM files")
            cut_alike = self.meta().get(CUT_BY) == str(CUTTING)
            return {path: Known(digests[path], Status(*status) if cut_alike else UNKNOWN) for path, *status in rows}

    def skipped(self) -> dict[str, tuple[str, Status]]:
        """Files that were skipped because of their content, by path, with the reason."""
        with self.as_output_error():
            if self.meta().get(CUT_BY) != str(CUTTING):
                return {}
            rows = self.connection.execute("SELECT path, reason, size, mtime, inode FROM skipped")
            return {path: (reason, Status(*status)) for path, reason, *status in rows}

    def put(self, files: Iterable[CutFile]) -> None:
        """Replace these files in one transaction."""
        with self.as_output_error(), self.transaction("IMMEDIATE") as connection:
            for file in files:
                self._remove(file.path)
                row = (file.path, file.digest, file.language)
                crc32 = checksums.of_file(*row)
                insert = (
                    "INSERT INTO files (path, digest, language, crc32, size, mtime, inode) VALUES (?, ?, ?, ?, ?, ?, ?)"
                )
                id_ = change(connection, "files", insert, (*row, crc32, *file.status)).lastrowid
                for piece, sha256 in file.pieces:
                    texts.add(connection, sha256, piece.text)
                    change(
                        connection,
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

    def finish(
        self,
        folder: Path,
        gone: Iterable[str],
        touched: Mapping[str, Status],
        skipped: Mapping[str, tuple[str, Status]],
    ) -> None:
        """Remove files, keep the new statuses of others and all that are skipped, and drop what is unused for long.

        folder: the one that is indexed.
        """
        with self.as_output_error(), self.transaction("IMMEDIATE") as connection:
            for path in gone:
                self._remove(path)
            update = "UPDATE files SET size = ?, mtime = ?, inode = ? WHERE path = ?"
            connection.executemany(update, [(*status, path) for path, status in touched.items()])
            connection.execute("DELETE FROM skipped")
            rows = [(path, reason, *status) for path, (reason, status) in skipped.items()]
            connection.executemany("INSERT INTO skipped VALUES (?, ?, ?, ?, ?)", rows)
            noted = [(CUT_BY, str(CUTTING)), (FOLDER, os.fsencode(folder.resolve()))]
            connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", noted)
            texts.drop_unused(connection, int(time.time()))
            self.lexical.finish()

    def is_finished(self) -> bool:
        """Whether finish() would change nothing if no file has changed: most searches then write nothing."""
        with self.as_output_error():
            unused = self.connection.execute("SELECT 1 FROM unused").fetchone()
            return unused is None and self.meta().get(CUT_BY) == str(CUTTING) and self.lexical.is_finished()

    def pending(self) -> list[tuple[int, int]]:
        """The id and the characters of each text without a vector, the most useful first."""
        with self.as_output_error():
            return texts.pending(self.connection)

    def texts(self, ids: Sequence[int]) -> list[str]:
        """These texts, checked."""
        with self.as_output_error():
            return texts.read(self.connection, ids)

    def set_vectors(self, vectors: Mapping[int, Array]) -> None:
        """Store vectors, each (d,), by the text's id, in one transaction."""
        with self.as_output_error(), self.transaction("IMMEDIATE") as connection:
            texts.set_vectors(connection, vectors)

    def contents(self, dim: int) -> Contents:
        """All that is searched, every row checked. Raises OutputError where one is damaged or lost."""
        with self.as_output_error():
            return contents.read(self.connection, dim)

    def counts(self) -> dict[str, int]:
        """How many files, pieces and texts are stored, and how many pieces are "without vector"."""
        counted = {table: f"SELECT count(*) FROM {table}" for table in ("files", "pieces", "texts")}
        counted["without vector"] = (
            "SELECT count(*) FROM pieces JOIN texts ON texts.id = pieces.text WHERE length(texts.vector) = 0"
        )
        with self.as_output_error():
            return {name: self.connection.execute(query).fetchone()[0] for name, query in counted.items()}

    def _remove(self, path: str) -> None:
        self.lexical.remove(path)
        of_path = "DELETE FROM pieces WHERE file IN (SELECT id FROM files WHERE path = ?)"
        change(self.connection, "pieces", of_path, (path,))
        change(self.connection, "files", "DELETE FROM files WHERE path = ?", (path,))
