"""Reads that do not trust a path: whether it is a regular file, on every Python, and no more of it than expected."""

from __future__ import annotations

import stat
from pathlib import Path


def is_file(path: Path) -> bool:
    """Like Path.is_file(), which from Python 3.14 on also returns False for what this user may not look at.

    Raises PermissionError for that.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def read_start(path: Path, most: int = 4096) -> bytes:
    """The first bytes of a file, for one that should be small and may be of any size."""
    with path.open("rb") as file:
        return file.read(most)
