"""The default place of an index: the user's cache folder.

The searched folder may be read-only, another user's, or under version control. An index is as large as its vectors, and
can always be rebuilt.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..cache import cache_folder
from ..errors import OutputError


def indexes_folder() -> Path:
    """Where indexes lie by default. Raises OutputError if there is no cache folder."""
    return cache_folder() / "indexes"


def default_place(folder: Path, bundle_sha256: str) -> Path:
    """One per folder and bundle. Raises OutputError if there is no cache folder to keep it in."""
    folder = folder.resolve()
    key = hashlib.sha256(f"{folder}\n{bundle_sha256}".encode(errors="surrogateescape")).hexdigest()
    try:
        return indexes_folder() / f"{folder.name or 'root'}-{key[:16]}"
    except OutputError as error:
        raise OutputError(f"no place for the index: {error}, or name a folder for it with --index") from None
