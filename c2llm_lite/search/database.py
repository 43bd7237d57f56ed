"""Opens an index: one SQLite database in a folder, with one writer and any number of readers."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import BundleError, OutputError
from . import schema
from .checksums import DamagedError
from .lexical import Lexical

log = logging.getLogger(__name__)
DATABASE = "index.sqlite"
LOCK = "writer.lock"
BUSY_SECONDS = 30.0  # how long a commit waits for another's: it takes milliseconds


class BusyError(OutputError):
    """Another process is writing to this index."""


class Database:
    """An open database. Used from one thread; raises OutputError for whatever SQLite cannot do."""

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
        written = (folder, folder / DATABASE)
        self.read_only = written[1].exists() and not all(os.access(path, os.W_OK) for path in written)
        with self.as_output_error():
            self.connection = self._connect()
        try:
            self._open(dict(identity))
        except BaseException:
            self.connection.close()
            raise
        with contextlib.suppress(OSError):
            os.utime(folder)  # its last use, for `c2llm-lite cache`

    def close(self) -> None:
        """Close the database."""
        self.connection.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one writer, of an index of today's format.

        Raises BusyError if another process is. A kill lets go, as it does of every lock.
        """
        with self.as_output_error():
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
            with self.as_output_error(), self.transaction("IMMEDIATE"):
                schema.upgrade(self.connection, self.meta().get("format"))
                self.lexical.bring_up()
            yield
        finally:
            lock.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[int]:
        """One state of the index for all reads within; yields a number that changes when another process commits."""
        with self.as_output_error(), self.transaction("DEFERRED"):
            self.connection.execute("SELECT count(*) FROM meta").fetchone()  # the state is taken at the first read
            yield self.connection.execute("PRAGMA data_version").fetchone()[0]

    def meta(self) -> dict[str, str]:
        """The table of the index's own settings."""
        return dict(self.connection.execute("SELECT name, value FROM meta"))

    @contextlib.contextmanager
    def transaction(self, kind: str) -> Iterator[sqlite3.Connection]:
        """One transaction. kind: DEFERRED to read, IMMEDIATE to write."""
        self.connection.execute(f"BEGIN {kind}")
        try:
            yield self.connection
            self.connection.commit()
        except BaseException:
            self.connection.rollback()
            raise

    @contextlib.contextmanager
    def as_output_error(self) -> Iterator[None]:
        """SQLite's errors as an OutputError that says what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:  # disk full, no permission, locked
            raise OutputError(
                f"the index {self.folder}: {error}; mend that, delete the folder, or name another with --index"
            ) from error
        except (sqlite3.DatabaseError, UnicodeDecodeError, DamagedError) as error:
            raise OutputError(f"{self.folder} is damaged ({error}): delete the folder and index again") from error

    def _connect(self) -> sqlite3.Connection:
        place: Path | str = self.folder / DATABASE
        if self.read_only:
            # SQLite keeps shared memory beside a database that it reads, unless it knows that nobody writes.
            place = f"{(self.folder / DATABASE).resolve().as_uri()}?mode=ro&immutable=1"
        return sqlite3.connect(place, timeout=BUSY_SECONDS, isolation_level=None, uri=self.read_only)

    def _open(self, identity: dict[str, str]) -> None:
        with self.as_output_error():
            if not self.read_only:
                self._log_ahead()
            # A commit survives a kill of the process; the last ones may be lost to a power cut, and are made again.
            self.connection.execute("PRAGMA synchronous = NORMAL")
            self.lexical = Lexical(self.connection)
            with self.transaction("IMMEDIATE" if not self._made() else "DEFERRED"):
                if not self._made():
                    schema.create(self.connection, identity)
                    self.lexical.bring_up()
                meta = self.meta()
        if meta.get("format") not in schema.READABLE:
            raise OutputError(
                f"{self.folder} was written by another version of c2llm-lite (format {meta.get('format')}); "
                "delete the folder, or pass another with --index"
            )
        if other := sorted(name for name, value in identity.items() if meta.get(name) != value):
            raise BundleError(
                f"{self.folder} was made with another {', '.join(other)} (its bundle is {meta.get('bundle', '')[:16]}, "
                f"this one {identity['bundle'][:16]}); use the same again, or pass another folder with --index"
            )

    def _log_ahead(self) -> None:
        """Write ahead, where the file system has the shared memory for it: network file systems have none.

        https://www.sqlite.org/wal.html#noshm: an index that was written ahead elsewhere is opened exclusively once.
        """
        try:
            (mode,) = self.connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "readonly" in str(error) or "full" in str(error):
                raise
            mode = str(error)
        if mode == "wal":
            return
        log.warning(
            "%s: SQLite cannot write ahead on this file system (%s), so searches wait while the index is written; "
            "--index names a folder on another",
            self.folder,
            mode,
        )
        for setting in ("locking_mode = EXCLUSIVE", "journal_mode = DELETE", "locking_mode = NORMAL"):
            self.connection.execute(f"PRAGMA {setting}")
        self._made()  # a read lets go of the exclusive lock

    def _made(self) -> bool:
        return bool(self.connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone())
