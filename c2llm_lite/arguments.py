"""Checks of a caller's arguments that several interfaces take: paths and whole numbers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .errors import ArgumentError


def as_path(value: object, name: str) -> Path:
    """A path. Raises ArgumentError, with the argument's name, for what is no path or cannot be a file's name."""
    if not isinstance(value, str | os.PathLike):
        raise ArgumentError(f"{name} is {value!r:.80}: give a path, as a string or a Path")
    path = Path(value)
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:
        raise ArgumentError(
            f"{name} is {str(path)!r:.80}: no file's name has a lone surrogate; give the name as os.fsdecode() has it"
        ) from None
    if b"\0" in encoded:
        raise ArgumentError(f"{name} is {str(path)!r:.80}: no file's name has a NUL character; give a name without it")
    return path


def check_whole(name: str, value: object, most: int | None = None) -> None:
    """Raises ArgumentError, with the argument's name, unless it is a whole number from 1 to `most`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not 1 <= value <= (value if most is None else most):  # type: ignore[operator]
        raise ArgumentError(
            f"{name} is {value!r}; give a whole number{f' from 1 to {most}' if most else ', 1 or more'}"
        )
