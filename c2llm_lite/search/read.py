"""One file's text, or why it is not worth embedding."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from .pieces import CUTTING

MAX_BYTES = 1 << 20  # larger files are data, or generated
HEAD_LINES = 20  # where a generator signs; a licence may stand above it
# The two marks in use (the second by https://go.dev/s/generatedcode), on a line that begins as a comment does: code
# that only names them, as this does, was written by hand.
GENERATED = re.compile(r"^[ \t]*[^\w\s].*(?:@generated|DO NOT EDIT)", re.MULTILINE)
LONG_LINE = 500  # characters, that nobody writes by hand


@dataclass(frozen=True)
class Source:
    """digest: of the file's bytes and of the way they are cut. replaced: whether bytes that are not UTF-8 were."""

    digest: str
    text: str
    replaced: bool


class SkippedError(ValueError):
    """A file that is not worth embedding. reason: one word or a few, to count by."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_bytes(path: Path) -> bytes:
    """Raises OSError, or SkippedError where the file is too large."""
    if path.stat().st_size > MAX_BYTES:
        raise SkippedError("over 1 MiB")
    return path.read_bytes()


def digest_of(content: bytes) -> str:
    """The sha256 of a file's content and of the version of the cutting rules."""
    return hashlib.sha256(b"%d\n" % CUTTING + content).hexdigest()


def decode(content: bytes) -> Source:
    """The text, its lines ended by line feeds alone. Raises SkippedError.

    What is not UTF-8 is read all the same, with U+FFFD in place of such bytes: code is ASCII but for a few names and
    comments, and can be found without them.
    """
    if b"\0" in content:
        raise SkippedError("binary")
    try:
        text, replaced = content.decode("utf-8-sig"), False
    except UnicodeDecodeError:
        text, replaced = content.decode("utf-8-sig", errors="replace"), True
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise SkippedError("empty")
    if GENERATED.search("\n".join(text.split("\n", HEAD_LINES)[:HEAD_LINES])):
        raise SkippedError("generated")
    if len(text) > LONG_LINE and sum(len(line) for line in text.split("\n") if len(line) > LONG_LINE) * 2 > len(text):
        raise SkippedError("minified")
    return Source(digest_of(content), text, replaced)
