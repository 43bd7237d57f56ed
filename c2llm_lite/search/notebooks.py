"""The cells of a Jupyter notebook, each with its lines in the file: https://nbformat.readthedocs.io.

Read line by line, since Jupyter writes every line of a cell's source on a line of its own; a notebook that another
program wrote on one line has no lines to name, and is skipped as minified.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .languages import language_of

SUFFIX = ".ipynb"
_TYPE = re.compile(r'\s*"cell_type": "(\w+)"')
_SOURCE = re.compile(r'\s*"source": (\[?)\s*("(?:[^"\\]|\\.)*")?')
_LINE = re.compile(r'\s*("(?:[^"\\]|\\.)*"),?\s*')
_SUFFIX_OF_CODE = re.compile(r'"file_extension": "(\.\w+)"')


@dataclass(frozen=True)
class Cell:
    """text: the source. start: the file's line that its first line is on, from 1."""

    code: bool
    start: int
    text: str


def cells(text: str) -> Iterator[Cell]:
    """Each cell that has a source. text: the file."""
    lines = text.split("\n")
    code = False
    number = 0
    while number < len(lines):
        if typed := _TYPE.match(lines[number]):
            code = typed[1] == "code"
        elif source := _SOURCE.match(lines[number]):
            start = number + 1
            held = [_string(source[2])] if source[2] else []
            while source[1] and not source[2] and number + 1 < len(lines):
                if not (line := _LINE.fullmatch(lines[number + 1])):
                    break
                number += 1
                held.append(_string(line[1]))
            if held:
                yield Cell(code, start + (not source[2]), "\n".join(one.rstrip("\n") for one in held))
        number += 1


def language(text: str) -> str:
    """The language of its code cells."""
    named = _SUFFIX_OF_CODE.search(text)
    return language_of(f"cell{named[1] if named else '.py'}", "")


def _string(quoted: str) -> str:
    try:
        return str(json.loads(quoted))
    except ValueError:
        return quoted[1:-1]
