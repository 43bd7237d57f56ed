"""Finds the license files to copy into a bundle: small regular files, and no links out of the checkpoint.

A checkpoint comes from strangers. A link to a private file would publish it with the bundle; one to /dev/zero would
fill the disk.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from c2llm_lite.bundle import LICENSES
from c2llm_lite.errors import CheckpointError

from .safetensors_file import reading

MAX_BYTES = 1_000_000  # the longest common license has 35 kB
MAX_FILES = 20


def license_files(folder: Path) -> list[Path]:
    """The checkpoint's license files, sorted; folders of such a name are skipped.

    Raises CheckpointError for one that cannot be copied safely.
    """
    found = sorted(path for pattern in LICENSES for path in folder.glob(pattern) if not path.is_dir())
    if len(found) > MAX_FILES:
        raise CheckpointError(
            f"{folder} holds {len(found)} license files; a bundle has room for {MAX_FILES}, so merge them"
        )
    for path in found:
        _check(folder, path)
    return found


def _check(folder: Path, path: Path) -> None:
    with reading(path):
        real = Path(os.path.realpath(path, strict=True))  # Path.resolve() calls a link to itself a RuntimeError
        if path.is_symlink() and not any(real.is_relative_to(place) for place in _places(folder)):
            raise CheckpointError(
                f"{path} is a link to {real}, outside the checkpoint; replace it with the file itself"
            )
        status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
        raise CheckpointError(f"{path} is not a regular file of at most {MAX_BYTES:,} bytes; replace or remove it")


def _places(folder: Path) -> list[Path]:
    """Where a link may lead: the checkpoint, and beside a snapshot of the hub's cache the blobs that it consists of."""
    whole = folder.resolve()
    return [whole, whole.parent.parent / "blobs"] if whole.parent.name == "snapshots" else [whole]
