"""The indexes that lie in the user's cache folder: which folder each is of, its size and its last use."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .cache import indexes_folder
from .database import DATABASE, LOCK
from .store import FOLDER


@dataclass(frozen=True)
class Kept:
    """An index. folder: what it is of; None if the index does not say, or is damaged. used: seconds since 1970."""

    place: Path
    folder: Path | None
    size: int
    used: float


def kept_indexes() -> list[Kept]:
    """The indexes in the cache folder, the largest first."""
    found = [
        Kept(place, _indexed_folder(place), size_of(place), place.stat().st_mtime)
        for place in _folders(indexes_folder())
        if (place / DATABASE).is_file()
    ]
    return sorted(found, key=lambda kept: -kept.size)


def size_of(folder: Path) -> int:
    """The bytes of the files in a folder and in those below it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def remove(kept: Kept) -> bool:
    """Delete an index; False if a process is writing to it."""
    with contextlib.closing(sqlite3.connect(kept.place / LOCK, timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return False
        except sqlite3.DatabaseError:
            pass  # a damaged lock file, which goes as well
    shutil.rmtree(kept.place)
    return True


def _folders(above: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):
        yield from sorted(path for path in above.iterdir() if path.is_dir() and not path.is_symlink())


def _indexed_folder(place: Path) -> Path | None:
    try:
        uri = f"{(place / DATABASE).resolve().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
            row = connection.execute("SELECT value FROM meta WHERE name = ?", (FOLDER,)).fetchone()
    except sqlite3.Error:
        return None
    return Path(os.fsdecode(row[0])) if row is not None and isinstance(row[0], bytes) else None
