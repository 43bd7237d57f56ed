"""Where an index is kept when nobody says: in the user's cache folder.

Not in the folder that is searched, which may be read-only, another's, or under version control; an index is as large as
the vectors in it, and can always be made again.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path


def default_place(folder: Path, bundle_sha256: str) -> Path:
    """One a folder and bundle, in the user's cache folder as each system has it."""
    if sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = folder.resolve()
    key = hashlib.sha256(f"{folder}\n{bundle_sha256}".encode(errors="surrogateescape")).hexdigest()
    return cache / "c2llm-lite" / "indexes" / f"{folder.name or 'root'}-{key[:16]}"
