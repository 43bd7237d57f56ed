"""Tables of data in code: pieces that are mostly numbers and short strings.

A library's Unicode tables were 55% of its tokens, and say as much in their first lines as in all. So the first such
piece of a run is kept, with the name and the comment above the table, and the others are left out and counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .pieces import Piece

LEAST_SHARE = 0.8  # of the letters, digits and signs in a table's words that are data
LEAST_LINES = 10
LEAST_SIGNS = 0.06  # of a table's characters that are digits or quotes; a quick look that spares most code the other
_COMMENT_LINE = re.compile(r"(?:#|//|--)[ \t].*")
# A string of one short word, or a number; then a name. A longer string is prose, such as a docstring.
_WORD = re.compile(
    r"""(?P<data>[rbuRBU]?"(?:[^"\\\s]|\\.){0,40}"|[rbuRBU]?'(?:[^'\\\s]|\\.){0,40}'|[-+]?\.?\d[\w.]*)|[^\W\d]\w*"""
)


def without_tables(pieces: Iterable[Piece]) -> tuple[list[Piece], int]:
    """The pieces without those that go on with a table, and how many those were."""
    kept: list[Piece] = []
    left_out = 0
    in_table = False
    for piece in pieces:
        table = is_table(piece.text)
        if table and in_table:
            left_out += 1
        else:
            kept.append(piece)
        in_table = table
    return kept, left_out


def is_table(text: str) -> bool:
    """Whether a piece is mostly data."""
    signs = sum(map(text.count, "0123456789\"'"))
    if text.count("\n") + 1 < LEAST_LINES or signs < LEAST_SIGNS * len(text):
        return False
    data = names = 0
    for word in _WORD.finditer(_COMMENT_LINE.sub("", text)):
        if word["data"] is not None:
            data += len(word["data"])
        else:
            names += len(word[0])
    return data > LEAST_SHARE * (data + names)
