"""Where an index is kept when nobody says: in the user's cache folder.

Not in the folder that is searched, which may be read-only, another's, or under version control; an index is as large as
the vectors in it, and can always be made again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..cache import cache_folder


def default_place(folder: Path, bundle_sha256: str) -> Path:
    """One a folder and bundle."""
    folder = folder.resolve()
    key = hashlib.sha256(f"{folder}\n{bundle_sha256}".encode(errors="surrogateescape")).hexdigest()
    return cache_folder() / "indexes" / f"{folder.name or 'root'}-{key[:16]}"
