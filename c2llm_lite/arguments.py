"""Checks of a caller's arguments that several interfaces take: paths and integers."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from .errors import ArgumentError


def as_path(value: object, name: str) -> Path:
    """A path. Raises ArgumentError, with the argument's name, for what is no path or cannot be a file's name."""
    if not isinstance(value, str | os.PathLike):
        raise ArgumentError(f"{name} is {value!r:.80}; pass a string or a Path")
    path = Path(value)
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:
        raise ArgumentError(
            f"{name} is {str(path)!r:.80}: no file name has a lone surrogate; pass the name as os.fsdecode() returns it"
        ) from None
    if b"\0" in encoded:
        raise ArgumentError(f"{name} is {str(path)!r:.80}: no file's name has a NUL character; pass a name without it")
    return path


def check_whole(name: str, value: object, most: int | None = None) -> None:
    """Raises ArgumentError, with the argument's name, unless it is an integer from 1 to `most`."""
    if (
        not isinstance(value, int | np.integer)
        or isinstance(value, bool)
        or value < 1
        or (most is not None and value > most)
    ):
        raise ArgumentError(f"{name} is {value!r}; pass an integer {f'from 1 to {most}' if most else 'of 1 or more'}")


def check_words(name: str, words: Sequence[str]) -> None:
    """Raises ArgumentError for what is not a list of strings; a string is a sequence of its letters."""
    listed = isinstance(words, Collection) and not isinstance(words, str | bytes)
    if not listed or not all(isinstance(word, str) for word in words):
        raise ArgumentError(f"{name} is {words!r:.80}: give a list of strings")
