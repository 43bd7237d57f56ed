"""A .gitignore's patterns as one automaton: all of them are matched at once, in time linear in a name's length.

A pattern is a row of tokens, each of which takes one byte; a bit of one large integer says that the tokens before it
have been matched. A byte of the path moves all bits with a few integer operations, so no pattern can backtrack, however
many stars it holds. The bits after "a/b/" are kept for all names in that folder.

What patterns mean is taken from git's dir.c and wildmatch.c, oddities included: bytes rather than characters, a pattern
that cannot be understood matches nothing.
"""

from __future__ import annotations

import string
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

_SLASH = ord("/")
_BYTES = frozenset(range(256)) - {_SLASH}  # a wildcard never matches a slash
_WILD = frozenset(b"*?[\\")
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
    """One line, read.

    takes: the bytes that each token takes. stars, deep_stars: tokens with a `*` or a `**` before them; one after the
    last token counts as before the end. optional: slashes of a `**/` that may match nothing.
    """

    negative: bool
    folders_only: bool
    anywhere: bool  # matched against each name alone: the pattern holds no slash
    takes: list[frozenset[int]] = field(default_factory=list)
    stars: list[int] = field(default_factory=list)
    deep_stars: list[int] = field(default_factory=list)
    optional: list[int] = field(default_factory=list)


class _Bits:
    """Bits that are set one by one, and then used as one integer: `1 << n` would copy all of it each time."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, bit: int) -> None:
        index = bit >> 3
        if index >= len(self._bytes):
            self._bytes.extend(bytes(index + 1 - len(self._bytes)))
        self._bytes[index] |= 1 << (bit & 7)

    def __int__(self) -> int:
        return int.from_bytes(self._bytes, "little")


class Patterns:
    """Patterns in the order of their lines: the last one that matches a path decides.

    A state is an integer: what has been matched of a path so far, from the folder of the .gitignore.
    """

    def __init__(self, content: bytes) -> None:
        """content: a .gitignore's bytes."""
        self._ends: list[int] = []  # each pattern's last bit, ascending
        self._negative: list[bool] = []
        start, anywhere, optional, stars, deep_stars, files, folders = (_Bits() for _ in range(7))
        wildcards = _Bits()  # tokens that take most bytes; `taken` and `refused` hold the bytes that differ
        taken: dict[int, _Bits] = {}
        refused: dict[int, _Bits] = {}
        bit = 0
        for pattern in _parsed(content):
            (anywhere if pattern.anywhere else start).add(bit)
            for bits, tokens in (
                (optional, pattern.optional),
                (stars, pattern.stars),
                (deep_stars, pattern.deep_stars),
            ):
                for token in tokens:
                    bits.add(bit + token)
            for takes in pattern.takes:
                listed, members = taken, takes
                if len(takes) > len(_BYTES) // 2:
                    wildcards.add(bit)
                    listed, members = refused, _BYTES - takes
                for byte in members:
                    listed.setdefault(byte, _Bits()).add(bit)
                bit += 1
            folders.add(bit)
            if not pattern.folders_only:
                files.add(bit)
            self._ends.append(bit)
            self._negative.append(pattern.negative)
            bit += 1
        self._optional = int(optional)
        self._deep_stars = int(deep_stars)
        self._stars = int(stars) | self._deep_stars
        self._anywhere = int(anywhere)
        self._files, self._folders = int(files), int(folders)
        any_byte = int(wildcards)
        self._takes = [any_byte] * 256
        for byte, some in refused.items():
            self._takes[byte] &= ~int(some)
        self._takes[_SLASH] = 0
        for byte, some in taken.items():
            self._takes[byte] |= int(some)
        self.start = self._skipped(int(start)) | self._anywhere

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
        """Whether a pattern leaves out what it matches; one that begins with ! takes it back in."""
        return not self._negative[number]

    def _skipped(self, entered: int) -> int:
        return entered | (entered & self._optional) << 1


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
        if pattern.takes or pattern.stars or pattern.deep_stars:
            yield pattern


def _without_trailing_spaces(line: bytes) -> bytes:
    """A space after a backslash stays."""
    kept = line.rstrip(b" ")
    backslashes = len(kept) - len(kept.rstrip(b"\\"))
    return kept + b" " if backslashes % 2 and kept != line else kept


def _tokenize(text: bytes, pattern: _Pattern) -> None:
    """Fill in the pattern's tokens. text: without what only says where and what it matches."""
    # git compares what stands before the first wildcard apart, and takes a `**` right after it for one after a slash.
    literal = next((i for i, byte in enumerate(text) if byte in _WILD), len(text))
    i = 0
    while i < len(text):
        byte = text[i]
        if byte == ord("*"):
            begin = i
            while i < len(text) and text[i] == ord("*"):
                i += 1
            whole_name = begin == literal or text[begin - 1] == _SLASH
            after = text[i : i + 2]
            if (
                i - begin < 2
                or pattern.anywhere
                or not whole_name
                or after[:1] not in (b"", b"/", b"\\")
                or (after[:1] == b"\\" and after != b"\\/")
            ):
                pattern.stars.append(len(pattern.takes))
            elif after[:1] == b"/":
                i += 1
                # A second `**/` adds nothing to the first.
                if pattern.optional[-1:] != [len(pattern.takes) - 1]:
                    pattern.deep_stars.append(len(pattern.takes))
                    pattern.optional.append(len(pattern.takes))
                    pattern.takes.append(frozenset({_SLASH}))
            else:
                pattern.deep_stars.append(len(pattern.takes))
            continue
        if byte == ord("["):
            members, i = _bracket(text, i + 1)
            pattern.takes.append(members)
            continue
        if byte == ord("?"):
            pattern.takes.append(_BYTES)
        else:
            if byte == ord("\\"):
                i += 1
            pattern.takes.append(frozenset({_at(text, i)}))
        i += 1


def _bracket(text: bytes, i: int) -> tuple[frozenset[int], int]:
    """The bytes that a bracket such as [a-z_] takes, and the index after it. i: after the opening bracket."""
    negative = _at(text, i) in b"!^"
    i += negative
    members: set[int] = set()
    previous: int | None = None  # that a range may begin with
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
        elif (
            text[i : i + 2] == b"[:"
            and (end := text.find(b"]", i + 2)) != -1
            and text[end - 1 : end] == b":"
            and (end - 1 >= i + 2)
        ):
            name = text[i + 2 : end - 1]
            if name not in _CLASS_BYTES:
                raise _NeverMatchesError
            members |= _CLASS_BYTES[name]
            previous = None
            i = end
        elif text[i : i + 2] == b"[:" and text.find(b"]", i + 2) == -1:
            raise _NeverMatchesError
        else:
            if byte == ord("\\"):
                i += 1
            previous = _at(text, i)
            members.add(previous)
        i += 1
    return (_BYTES - members if negative else frozenset(members) & _BYTES), i + 1


def _at(text: bytes, i: int) -> int:
    if i >= len(text):
        raise _NeverMatchesError
    return text[i]
