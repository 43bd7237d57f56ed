"""What has changed in a folder since its index was updated.

A file is read if its size, its time or its inode is not what the index has: as git does, which hashes no file that
looks the same either. A file that was changed within the last seconds before it was read may be changed again without
a new time, so it is read the next time as well.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .read import MAX_BYTES, SkippedError, decode, digest_of, read_bytes
from .store import Known, Status
from .walk import LINK, files

UNSETTLED_NS = 2_000_000_000  # the coarsest clock of a file system in use, FAT's
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass
class Look:
    """What a walk over the folder found, by path."""

    changed: dict[str, Status] = field(default_factory=dict)
    unchanged: set[str] = field(default_factory=set)
    touched: dict[str, Status] = field(default_factory=dict)  # of the unchanged, those with another status
    skipped: dict[str, list[str]] = field(default_factory=dict)  # paths by reason
    by_content: dict[str, tuple[str, Status]] = field(default_factory=dict)  # those skipped for what is in them
    linked: list[str] = field(default_factory=list)
    truncated: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)

    def skip(self, path: str, reason: str) -> None:
        """Note what is passed over."""
        if reason == LINK:
            self.linked.append(path)
        else:
            self.skipped.setdefault(reason, []).append(path)

    def fail(self, path: str, error: OSError) -> None:
        """Note what cannot be read."""
        self.unreadable[path] = error.strerror or str(error)

    def because(self) -> str:
        """Why there is nothing to index, in parentheses; "" if there are no files at all."""
        reasons = [f"{len(paths)} {reason}" for reason, paths in self.skipped.items()]
        reasons += [f"{path}: {why}" for path, why in self.unreadable.items()]
        return f" ({', '.join(reasons[:5])})" if reasons else ""


def look(
    folder: Path,
    known: Mapping[str, Known],
    skipped: Mapping[str, tuple[str, Status]],
    patterns: tuple[Sequence[str], Sequence[str]],
    *,
    verify: bool,
) -> Look:
    """Compare a folder with the files that its index knows, and those that it skipped for their content.

    patterns: `exclude` and `include` of files(). verify: read every file, whatever its status.
    Raises OSError if the folder cannot be listed.
    """
    found = Look()
    exclude, include = patterns
    for path in files(folder, found.fail, found.skip, exclude=exclude, include=include):
        if not _plain(path):
            found.unreadable[ascii(path)] = "the name holds control characters or is not UTF-8: rename it"
            continue
        try:
            status = status_of(folder / path)
            if status.size > MAX_BYTES:
                found.truncated.append(path)
            looks_same = status.mtime >= 0 and not verify
            if looks_same and path in known and known[path].status == status:
                found.unchanged.add(path)
            elif looks_same and path in skipped and skipped[path][1] == status:
                found.by_content[path] = skipped[path]
                found.skip(path, skipped[path][0])
            else:
                _read(folder, path, known.get(path), status, found)
        except OSError as error:
            found.fail(path, error)
    return found


def _read(folder: Path, path: str, known: Known | None, status: Status, found: Look) -> None:
    try:
        content = read_bytes(folder / path)
        if known is None or known.digest != digest_of(content):
            decode(content)
            found.changed[path] = status
            return
        found.unchanged.add(path)
        if known.status != status:
            found.touched[path] = status
    except SkippedError as error:
        found.by_content[path] = (error.reason, status)
        found.skip(path, error.reason)


def status_of(file: Path) -> Status:
    """A file's status, as the index keeps it."""
    found = os.stat(file)  # noqa: PTH116  # a third of the time of Path's
    settled = time.time_ns() - found.st_mtime_ns > UNSETTLED_NS
    # SQLite's integers have 64 bits with a sign, and a file system's inodes 64 without.
    return Status(found.st_size, found.st_mtime_ns if settled else -1, found.st_ino & (1 << 63) - 1)


def _plain(path: str) -> bool:
    """Whether a path is one line of valid Unicode without invisible characters.

    Python keeps bytes that are not UTF-8 as lone surrogates. Control characters and Unicode's bidirectional controls
    would act on the terminal.
    """
    return _UNSHOWN.search(path) is None
