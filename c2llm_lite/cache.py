"""The user's cache folder. Files that can be rebuilt; kept outside bundles and indexed folders."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from .errors import OutputError


def cache_folder() -> Path:
    """This package's cache folder, by the system's convention. It may not exist yet.

    Raises OutputError for a user without a home folder, such as a container's user id without an account.
    """
    if sys.platform == "win32":
        above = Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        above = _home() / "Library" / "Caches"
    else:
        above = Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache")
    return above / "c2llm-lite"


def compiled_folders() -> list[Path]:
    """The folders of what engines compiled, one a bundle. Raises OutputError without a home folder."""
    above = cache_folder() / "compiled"
    return sorted(path for path in above.iterdir() if path.is_dir()) if above.is_dir() else []


def compiled(bundle_sha256: str) -> Path | None:
    """The folder for what an engine compiles from this bundle; None without a home folder, since it only saves time."""
    with contextlib.suppress(OutputError):
        return cache_folder() / "compiled" / bundle_sha256[:16]
    return None


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise OutputError("this user has no home folder; set HOME or XDG_CACHE_HOME to a writable folder") from None
