"""Prints results. Each hit starts with a line that pipes and editors can parse."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.syntax import Syntax
from rich.text import Text

from .hits import Duplicate, Hit
from .read import MAX_BYTES
from .update import Update

LINES = 12  # of a piece's code
NAMED = 5  # files of a kind that are listed by name

# Control characters, C1 among them, and those that reorder what follows (Unicode's bidirectional controls).
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def from_here(hit: Hit, folder: Path) -> Hit:
    """The hit with paths as the user, who is in the current folder, would write them. folder: the indexed one."""
    return replace(hit, path=_from_here(hit.path, folder), also=tuple(_from_here(place, folder) for place in hit.also))


def hits(found: Sequence[Hit], console: Console) -> None:
    """Print each hit with its place, score and code."""
    for hit in found:
        console.print(Text.assemble(*_heading(hit), "  ", (f"{hit.score:.3f}", "green")), soft_wrap=True)
        console.print(_code(hit), soft_wrap=True)
        if hit.also:
            console.print(Text(f"  also at {_listed(hit.also)}", "dim"), soft_wrap=True)
        console.print()


def duplicates(found: Sequence[Duplicate], console: Console) -> None:
    """Print each pair on one line."""
    for pair in found:
        line = Text.assemble((f"{pair.score:.3f}", "green"), "  ", *_heading(pair.first), "  ", *_heading(pair.second))
        console.print(line, soft_wrap=True)


def update(done: Update, console: Console) -> None:
    """Print one line with what changed, and a line for each kind of skipped file."""
    console.print(
        f"{done.files:,} files, {done.pieces:,} pieces; {done.changed:,} new or changed, {done.removed:,} removed, "
        f"{done.embedded:,} texts embedded in {done.seconds:,.1f} s",
        highlight=False,
        soft_wrap=True,
    )
    if done.skipped:
        reasons = sorted(done.skipped_paths.items())
        listed = "; ".join(f"{len(paths):,} {reason} ({_plain(_listed(paths))})" for reason, paths in reasons)
        console.print(Text(f"skipped: {listed}"), soft_wrap=True)
    if done.tables:
        console.print(f"pieces of data tables left out after the first: {done.tables:,}", highlight=False)
    if done.truncated:
        named = _plain(_listed(done.truncated))
        console.print(Text(f"over {MAX_BYTES >> 20} MiB, read up to there: {named}"), soft_wrap=True)
    if done.linked:
        console.print(Text(f"links, not followed: {_plain(_listed(done.linked))}"), soft_wrap=True)
    if done.unreadable:
        whys = [_plain(f"{path} ({why})") for path, why in done.unreadable.items()]
        console.print(Text(f"not readable: {_listed(whys)}", "yellow"), soft_wrap=True)
    if done.not_utf8:
        console.print(Text(f"not UTF-8, invalid bytes read as �: {_listed(done.not_utf8)}", "yellow"), soft_wrap=True)


def _from_here(path: str, folder: Path) -> str:
    try:
        return os.path.relpath(folder / path)
    except ValueError:  # on another drive
        return str(folder.resolve() / path)


def _heading(hit: Hit) -> Iterator[str | tuple[str, str]]:
    yield f"{hit.path}:{hit.line}", "bold cyan"
    if hit.symbol:
        yield "  "
        yield _plain(hit.symbol), "magenta"


def _code(hit: Hit) -> RenderableType:
    lines = _plain(hit.code).split("\n")
    shown = "\n".join(f"    {line}" for line in lines[:LINES])
    # The terminal's own colors; as Text, so that no line is padded or cut where the output is a file. A lexer of the
    # language's name: guessing one by path and code takes half a second.
    code = Syntax(shown, hit.language, theme="ansi_dark", background_color="default").highlight(shown)
    code.rstrip()
    left = len(lines) - LINES
    return Group(code, Text(f"    … {left} more lines", "dim")) if left > 0 else code


def _plain(text: str) -> str:
    """Replace characters that would move the terminal's cursor or change its state."""
    return _CONTROL.sub("\ufffd", text)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")
