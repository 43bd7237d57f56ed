"""Writes a file or a folder that is either complete or absent, even when the process or the machine stops midway.

Content goes to a temporary name, is synced to the disk and then renamed. Permissions follow the process's umask.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import OutputError

WINDOWS = os.name == "nt"
PARTIAL, OLD = "partial", "old"  # kinds of hidden folders
# EDQUOT, over a quota, is not on Windows. EFBIG: over a limit of the process, or of the file system.
DISK_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


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

    Its files are synced before the rename, so that a folder of that name is always complete. replaces: as make_way's.
    Raises OutputError as make_way does, and if the folder's parent cannot be written or the disk is full. An OSError of
    something else than writing, such as a source that cannot be read, passes unchanged.
    """
    make_way(output, replaces=replaces)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        folder, lock = _made_beside(output, PARTIAL)
    except OSError as error:
        raise OutputError(f"cannot write beside {output}: {error.strerror or error}") from error
    try:
        yield folder
        _settle(folder)
        if replaces is not None and output.exists():
            _exchange(folder, output)
        else:
            folder.rename(output)
        _sync(output.parent)
    except OSError as error:
        if isinstance(error, OutputError) or not _is_of_writing(error, folder, output):
            raise
        raise OutputError(
            error.errno, f"could not write {output}: {error.strerror}; no partial output was left"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _unlock(lock)


def make_way(output: Path, *, replaces: str | None = None) -> None:
    """Remove what killed runs left beside `output`, and refuse an output that may not be replaced.

    replaces: a file that an existing folder must hold to be replaced, by which it is known to be of the same kind; None
    replaces no folder. An older folder that a killed run had set aside, to put a newer one in its place, comes back.
    Raises OutputError if `output` exists and may not be replaced.
    """
    with contextlib.suppress(OSError):  # a parent that is not there yet, or not to be listed
        for folder in sorted(output.parent.iterdir()):
            kind = next((kind for kind in (PARTIAL, OLD) if folder.name.startswith(f".{output.name}.{kind}-")), None)
            if kind is not None and folder.is_dir() and not folder.is_symlink():
                _clear(folder, output if kind == OLD else None)
    if not output.exists():
        return
    if replaces is None:
        raise OutputError(f"{output} exists; choose another name, or replace it with --force")
    if not (output / replaces).is_file():
        raise OutputError(f"{output} has no {replaces}, so --force will not overwrite it; choose another name")


def _exchange(folder: Path, output: Path) -> None:
    """Put `folder` in the place of `output`, or leave `output` as it was."""
    old, lock = _made_beside(output, OLD)
    try:
        try:
            output.rename(old / output.name)
            folder.rename(output)
        except BaseException:
            _put_back(old, output)
            raise
        shutil.rmtree(old)
    finally:
        with contextlib.suppress(OSError):
            old.rmdir()  # it holds nothing, or the only copy
        _unlock(lock)


def _put_back(old: Path, output: Path) -> None:
    if output.exists():
        return
    try:
        (old / output.name).rename(output)
    except OSError as error:
        raise OutputError(
            f"could not write {output}; its earlier content is in {old / output.name}, so move it back"
        ) from error


def _is_of_writing(error: OSError, folder: Path, output: Path) -> bool:
    """Whether an error is about what was being written. Writing to an open file names no file; opening one does."""
    if error.errno is None:
        return False
    if error.errno in DISK_FULL or error.filename is None:
        return True
    named = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    return any(Path(named).is_relative_to(place) for place in (folder, output))


def _made_beside(output: Path, kind: str) -> tuple[Path, int | None]:
    """A new hidden folder, and the lock by which another run sees that this one is alive."""
    while True:
        # Not tempfile.mkdtemp, which makes folders that only their owner can read.
        folder = output.with_name(f".{output.name}.{kind}-{secrets.token_hex(8)}")
        folder.mkdir()
        try:
            lock = _locked(folder)
        except BlockingIOError:  # another run takes it for a dead one's, being quicker than the lock
            continue
        if folder.exists():
            return folder, lock
        _unlock(lock)


def _clear(folder: Path, home: Path | None) -> None:
    """Remove a folder of _made_beside() whose process is dead.

    home: where what it holds belongs, if nothing is there.
    """
    try:
        lock = _locked(folder)
    except OSError:  # alive, or not ours to open
        return
    if lock is None:
        return
    if home is not None and (folder / home.name).exists():
        _put_back(folder, home)
    shutil.rmtree(folder, ignore_errors=True)
    _unlock(lock)


def _locked(folder: Path) -> int | None:
    """A descriptor that locks the folder until this process ends; None if the system or the disk has no such lock.

    Raises BlockingIOError if another holds it.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:  # NFS locks only what can be written, and a folder cannot
        os.close(descriptor)
        return None
    return descriptor


def _unlock(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


def _settle(folder: Path) -> None:
    """Sync a folder's content and give its files the permissions that the umask allows, as the folder itself has."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(folder.stat().st_mode & 0o666)  # safetensors makes files that only their owner can read
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    """Return when a file's bytes, or a folder's names, are on the disk."""
    if WINDOWS and path.is_dir():
        return  # Windows cannot open a folder to sync it
    descriptor = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)  # Windows syncs only what may be written
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
