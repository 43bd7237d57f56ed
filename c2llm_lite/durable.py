"""Writes a file or a folder that is either complete or absent, even when the process or the machine stops midway.

Content goes to a temporary name, is synced to the disk and then renamed. Permissions follow the process's umask.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import OutputError


@contextlib.contextmanager
def durable(path: Path, *, through: Path | None = None) -> Iterator[BinaryIO]:
    """A file that takes the name `path` when the block ends well; its bytes are on the disk by then.

    A library that opens files itself may write to the yielded file's `name`. through: the folder that holds the file
    until then, on the same file system; by default `path`'s own. Raises OSError if the file cannot be written; the
    temporary file is removed on any error.
    """
    # A random name: another thread, process or machine may be writing the same file.
    temporary = (through or path.parent) / f"{path.name}.{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


@contextlib.contextmanager
def staged(output: Path, *, replaces: str | None = None) -> Iterator[Path]:
    """A temporary folder beside `output` that takes its name when the block ends well, and is removed when it does not.

    Its files are synced before the rename, so that a folder of that name is always complete. replaces: a file that an
    existing folder must hold to be replaced, by which it is known to be of the same kind; None replaces no folder.
    Raises OutputError if `output` exists and may not be replaced, its parent cannot be written, or the disk is full.
    """
    if output.exists() and replaces is None:
        raise OutputError(f"{output} exists: choose another name, or replace it with --force")
    if output.exists() and replaces is not None and not (output / replaces).is_file():
        raise OutputError(
            f"{output} has no {replaces}: --force does not delete what is not of the kind; choose another name"
        )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = _made_beside(output, "partial")
    except OSError as error:
        raise OutputError(f"cannot write beside {output}: {error.strerror or error}") from error
    try:
        yield folder
        _settle(folder)
        if output.exists():
            old = _made_beside(output, "old")
            output.rename(old / output.name)
            folder.rename(output)
            shutil.rmtree(old)
        else:
            folder.rename(output)
        _sync(output.parent)
    except OSError as error:
        if isinstance(error, OutputError) or error.errno is None:
            raise
        raise OutputError(
            error.errno, f"could not write {output}: {error.strerror}; nothing was left behind"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _made_beside(output: Path, kind: str) -> Path:
    # Not tempfile.mkdtemp, which makes folders that only their owner can read.
    folder = output.with_name(f".{output.name}.{kind}-{secrets.token_hex(8)}")
    folder.mkdir()
    return folder


def _settle(folder: Path) -> None:
    """Sync a folder's content and give its files the permissions that the umask allows, as the folder itself has."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(folder.stat().st_mode & 0o666)  # safetensors makes files that only their owner can read
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    """Return when a file's bytes, or a folder's names, are on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open a folder to sync it
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
