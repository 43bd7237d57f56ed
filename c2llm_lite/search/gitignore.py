"""A .gitignore's patterns as one automaton: all of them are matched at once, in time linear in a name's length.

A pattern is a row of tokens, each of which takes one byte; a bit of one large integer says that the tokens before it
have been matched. A byte of the path moves all bits with a few integer operations, so no pattern can backtrack, however
many stars it holds. The bits after "a/b/" are kept for all names in that folder.

What patterns mean is taken from git's dir.c and wildmatch.c, oddities included: bytes rather than characters, a pattern
that cannot be understood matches nothing.
"""

from __future__ import annotations

import re
import string
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_SLASH = ord("/")
_BYTES = frozenset(range(256)) - {_SLASH}  # a wildcard never matches a slash
_WILD = re.compile(rb"[*?\[\\]")
_CLASSES = {
    "alpha": string.ascii_letters,
    "digit": string.digits,
    "alnum": string.ascii_letters + string.digits,
    "lower": string.ascii_lowercase,
    "upper": string.ascii_uppercase,
    "xdigit": string.hexdigits,
    "punct": string.punctuation,
    "blank": " \t",
    "space": " \t\n\r",  # git's own isspace() has no form feed
    "graph": string.digits + string.ascii_letters + string.punctuation,
    "print": string.digits + string.ascii_letters + string.punctuation + " ",
    "cntrl": "".join(map(chr, (*range(32), 127))),
}
_CLASS_BYTES = {name.encode(): frozenset(members.encode()) for name, members in _CLASSES.items()}


class _NeverMatchesError(ValueError):
    """A pattern that git reads and that matches nothing, such as "[a" or a lone backslash at the end."""


@dataclass
class _Pattern:
    """Tokens, counted from 0; the end has the number after the last token.

    literals: the byte that each token takes; 0, which no path holds, for one that takes any of a set. stars,
    deep_stars: tokens with a `*` or a `**` before them. optional: slashes of a `**/` that may match nothing.
    """

    negative: bool
    folders_only: bool
    anywhere: bool  # matched against each name alone: the pattern holds no slash
    literals: bytearray = field(default_factory=bytearray)
    sets: list[tuple[int, frozenset[int]]] = field(default_factory=list)
    stars: list[int] = field(default_factory=list)
    deep_stars: list[int] = field(default_factory=list)
    optional: list[int] = field(default_factory=list)


class Patterns:
    """Patterns in the order of their lines: the last one that matches a path decides.

    A state is an integer: what has been matched of a path so far, from the folder of the .gitignore.
    """

    def __init__(self, content: bytes) -> None:
        """content: a .gitignore's bytes."""
        self.size = len(content)
        self._ends: list[int] = []  # each pattern's last bit, ascending
        self._negative: list[bool] = []
        literals = bytearray()
        sets: list[tuple[int, frozenset[int]]] = []
        starts: list[int] = []
        anywhere: list[int] = []
        optional: list[int] = []
        stars: list[int] = []
        deep_stars: list[int] = []
        files: list[int] = []
        for pattern in _parsed(content):
            bit = len(literals)
            (anywhere if pattern.anywhere else starts).append(bit)
            sets += [(bit + token, members) for token, members in pattern.sets]
            optional += [bit + token for token in pattern.optional]
            stars += [bit + token for token in pattern.stars]
            deep_stars += [bit + token for token in pattern.deep_stars]
            literals += pattern.literals + b"\0"
            self._ends.append(len(literals) - 1)
            if not pattern.folders_only:
                files.append(len(literals) - 1)
            self._negative.append(pattern.negative)

        def mask(bits: list[int]) -> int:
            flags = np.zeros(len(literals), bool)
            flags[bits] = True
            return _integer(flags)

        self._optional, self._deep_stars = mask(optional), mask(deep_stars)
        self._stars = mask(stars) | self._deep_stars
        self._anywhere = mask(anywhere)
        self._files, self._folders = mask(files), mask(self._ends)
        self._takes = _taken(literals, sets)
        self.start = self._skipped(mask(starts)) | self._anywhere

    def __len__(self) -> int:
        return len(self._ends)

    def after_name(self, state: int, name: bytes) -> int:
        """The state after one name of a path. state: `start`, or after a slash."""
        for byte in name:
            state = self._skipped((state & self._takes[byte]) << 1) | (state & self._stars)
            if not state:
                break
        return state

    def after_slash(self, state: int) -> int:
        """The state after the slash that follows a folder's name."""
        entered = self._skipped((state & self._takes[_SLASH]) << 1)
        return entered | (state & self._deep_stars) | self._anywhere

    def last_match(self, state: int, *, folder: bool) -> int | None:
        """The last pattern that matches the path that led to this state: its number, from 0."""
        matched = state & (self._folders if folder else self._files)
        return bisect_left(self._ends, matched.bit_length() - 1) if matched else None

    def ignores(self, number: int) -> bool:
        """Whether a pattern leaves out what it matches; one that starts with ! takes it back in."""
        return not self._negative[number]

    def _skipped(self, entered: int) -> int:
        return entered | (entered & self._optional) << 1


def _taken(literals: bytearray, sets: list[tuple[int, frozenset[int]]]) -> list[int]:
    """For each byte, the tokens that take it."""
    by_token = np.frombuffer(bytes(literals), np.uint8)
    rows: dict[frozenset[int], int] = {}
    row_of = np.array([rows.setdefault(members, len(rows)) for _, members in sets], np.int64)
    token_of = np.array([token for token, _ in sets], np.int64)
    takes = np.zeros((256, len(rows)), bool)
    for members, row in rows.items():
        takes[list(members), row] = True
    found = []
    for byte in range(256):
        flags = by_token == byte if byte else np.zeros(len(literals), bool)
        flags[token_of] = takes[byte][row_of]
        found.append(_integer(flags))
    return found


def _integer(flags: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")


def _parsed(content: bytes) -> Iterator[_Pattern]:
    """The patterns that can match something."""
    for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        if line.startswith(b"#"):
            continue
        text = _without_trailing_spaces(line.removesuffix(b"\r").partition(b"\0")[0])
        negative = text.startswith(b"!")
        text = text[negative:]
        folders_only = text.endswith(b"/")
        text = text[: len(text) - folders_only]
        anywhere = b"/" not in text
        if not text:
            continue
        pattern = _Pattern(negative, folders_only, anywhere)
        try:
            _tokenize(text if anywhere else text.removeprefix(b"/"), pattern)
        except _NeverMatchesError:
            continue
        if pattern.literals or pattern.stars or pattern.deep_stars:
            yield pattern


def _without_trailing_spaces(line: bytes) -> bytes:
    """A space after a backslash stays."""
    kept = line.rstrip(b" ")
    backslashes = len(kept) - len(kept.rstrip(b"\\"))
    return kept + b" " if backslashes % 2 and kept != line else kept


def _tokenize(text: bytes, pattern: _Pattern) -> None:
    """Fill in the pattern's tokens. text: without what only says where and what it matches."""
    # git compares the part before the first wildcard separately, and takes a `**` right after it for one after a slash.
    if (found := _WILD.search(text)) is None:
        pattern.literals += text
        return
    i = literal = found.start()
    pattern.literals += text[:i]
    while i < len(text):
        byte = text[i]
        if byte == ord("*"):
            i = _star(text, i, pattern, begins_name=i == literal or text[i - 1] == _SLASH)
        elif byte == ord("["):
            members, i = _bracket(text, i + 1)
            pattern.sets.append((len(pattern.literals), members))
            pattern.literals.append(0)
        else:
            if byte == ord("?"):
                pattern.sets.append((len(pattern.literals), _BYTES))
                byte = 0
            elif byte == ord("\\"):
                i += 1
                byte = _at(text, i)
            pattern.literals.append(byte)
            i += 1


def _star(text: bytes, begin: int, pattern: _Pattern, *, begins_name: bool) -> int:
    """Take up the stars that begin at an index; returns the index after them."""
    i = begin
    while text[i : i + 1] == b"*":
        i += 1
    token = len(pattern.literals)
    ends_name = i == len(text) or text.startswith((b"/", b"\\/"), i)
    if pattern.anywhere or i - begin == 1 or not (begins_name and ends_name):
        pattern.stars.append(token)
    elif text[i : i + 1] != b"/":
        pattern.deep_stars.append(token)
    else:
        i += 1
        if pattern.optional[-1:] != [token - 1]:  # a second `**/` adds nothing to the first
            pattern.deep_stars.append(token)
            pattern.optional.append(token)
            pattern.literals.append(_SLASH)
    return i


def _bracket(text: bytes, i: int) -> tuple[frozenset[int], int]:
    """The bytes that a bracket such as [a-z_] takes, and the index after it. i: after the opening bracket."""
    negative = _at(text, i) in b"!^"
    i += negative
    members: set[int] = set()
    previous: int | None = None  # that a range may start with
    first = True
    while first or _at(text, i) != ord("]"):
        first = False
        byte = _at(text, i)
        if byte == ord("-") and previous is not None and text[i + 1 : i + 2] not in (b"", b"]"):
            i += 1
            if text[i] == ord("\\"):
                i += 1
            members.update(range(previous, _at(text, i) + 1))
            previous = None
        elif text.startswith(b"[:", i) and (named := _named_class(text, i + 2)):
            previous = None
            members |= _CLASS_BYTES[named]
            i += len(named) + 3
        else:
            if byte == ord("\\"):
                i += 1
            previous = _at(text, i)
            members.add(previous)
        i += 1
    return (_BYTES - members if negative else frozenset(members) & _BYTES), i + 1


def _named_class(text: bytes, i: int) -> bytes:
    """The name in [:name:]; empty if the brackets are ordinary members. i: after the colon."""
    end = text.find(b"]", i)
    if end == -1:
        raise _NeverMatchesError
    if end == i or text[end - 1] != ord(":"):
        return b""
    name = text[i : end - 1]
    if name not in _CLASS_BYTES:
        raise _NeverMatchesError
    return name


def _at(text: bytes, i: int) -> int:
    if i >= len(text):
        raise _NeverMatchesError
    return text[i]
