"""Reads JSON Lines: a JSON value a line, in UTF-8; blank lines are skipped, and every error names the line."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .arguments import as_path
from .errors import InputError


def read(path: Path) -> Iterator[tuple[str, Any]]:
    """Each line's value with its place, "FILE, line N", for errors about it.

    Raises InputError, with the place, for a line that is not UTF-8 or not JSON; OSError if the file cannot be read.
    """
    for place, line in lines(path):
        try:
            yield place, parse(line)
        except ValueError as error:
            raise InputError(f"{place}: {error}") from None


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """The text of each line that is not blank, with its place; raises as read() does."""
    with as_path(path, "the JSONL file").open("rb") as file:
        for number, line in enumerate(file, start=1):
            if is_blank(line):
                continue
            place = f"{path}, line {number}"
            try:
                yield place, decode(line)
            except ValueError as error:
                raise InputError(f"{place}: {error}") from None


def is_blank(line: bytes) -> bool:
    """Whether a line has nothing but white space."""
    return not line.removeprefix(codecs.BOM_UTF8).strip()


def decode(line: bytes) -> str:
    r"""A line's text, without the \n or \r\n that ends it. Raises ValueError if it is not UTF-8."""
    if line.endswith(b"\n"):
        line = line[:-1].removesuffix(b"\r")
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}; convert the file to UTF-8") from None


def parse(line: str) -> Any:
    """The value on a line. Raises ValueError if it is not JSON."""
    try:
        return json.loads(line.removeprefix("\ufeff"))  # a byte order mark, which a file may start with
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
