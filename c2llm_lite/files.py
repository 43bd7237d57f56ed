"""Whether a path is a regular file, on every Python."""

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
