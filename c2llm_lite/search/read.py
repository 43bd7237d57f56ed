"""Reads a file's text, or the reason to skip it."""

from __future__ import annotations

import codecs
import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from .pieces import CUTTING

MAX_BYTES = 4 << 20  # of a file: what follows is not read
HEAD_LINES = 20  # where a generator signs; a license may stand above it
# The two marks in use (the second by https://go.dev/s/generatedcode), on a line that begins as a comment does: code
# that only names them, as this does, was written by hand, and "do not edit" alone is said to people.
GENERATED = re.compile(r"^[ \t]*[^\w\s].*(?:@generated\b|Code generated .*DO NOT EDIT)", re.MULTILINE)
LONG_LINE = 500  # characters; one with few spaces is data or minified code
WORDS, SIGNS = 20, 12  # characters to a space at most, and to a sign of code at least, in a line that people write
_SIGN = re.compile(r"[;{}()\[\]=<>]")


@dataclass(frozen=True)
class Source:
    """digest: of the bytes and the version of the cutting rules. replaced: whether invalid UTF-8 was replaced."""

    digest: str
    text: str
    replaced: bool


class SkippedError(ValueError):
    """The file is skipped. reason: a few words, by which files are counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_bytes(path: Path) -> bytes:
    """A file's content, or its first MAX_BYTES. Raises OSError, or SkippedError if it is not a regular file."""
    content, more = _read(path, MAX_BYTES)
    return content[: content.rfind(b"\n") + 1] or content if more else content


def read_regular(path: Path, limit: int, *, follow: bool = True) -> bytes:
    """A regular file's content, of at most `limit` bytes; a pipe, a terminal or a device is not read.

    follow: whether a link is. Raises OSError, or SkippedError for what is no such file.
    """
    content, more = _read(path, limit, follow=follow)
    if more:
        raise SkippedError(f"over {limit >> 20} MiB")
    return content


def _read(path: Path, limit: int, *, follow: bool = True) -> tuple[bytes, bool]:
    """A regular file's first `limit` bytes, and whether there are more."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if not follow:
        if path.is_symlink():
            raise SkippedError("a link")
        flags |= getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags)
    with open(descriptor, "rb") as file:  # noqa: PTH123  # a descriptor has no path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SkippedError("not a regular file")
        content = file.read(limit + 1)
    return content[:limit], len(content) > limit


def digest_of(content: bytes) -> str:
    """The sha256 of a file's content and of the version of the cutting rules."""
    return hashlib.sha256(b"%d\n" % CUTTING + content).hexdigest()


def decode(content: bytes) -> Source:
    """The text, its lines ended by line feeds alone. Raises SkippedError.

    UTF-16 is read if it begins with its mark. Bytes that are not UTF-8 become U+FFFD: code is ASCII except for a few
    names and comments, and can be found without them.
    """
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if marked and not content.startswith(codecs.BOM_UTF32_LE) else "utf-8-sig"
    if encoding != "utf-16" and b"\0" in content:
        raise SkippedError("binary")
    try:
        text, replaced = content.decode(encoding), False
    except UnicodeDecodeError:
        text, replaced = content.decode(encoding, errors="replace"), True
    if "\0" in text:
        raise SkippedError("binary")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise SkippedError("empty")
    if GENERATED.search("\n".join(text.split("\n", HEAD_LINES)[:HEAD_LINES])):
        raise SkippedError("generated")
    text = "\n".join("" if _is_data(line) else line for line in text.split("\n"))
    if not text.strip():
        raise SkippedError("minified")
    return Source(digest_of(content), text, replaced)


def _is_data(line: str) -> bool:
    """Whether a line is data, such as an image in a notebook or a minified script. Only the line is skipped."""
    if len(line) <= LONG_LINE:
        return False
    return len(line) > WORDS * (1 + line.count(" ")) or len(line) < SIGNS * len(_SIGN.findall(line))
