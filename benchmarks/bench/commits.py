"""Which commit changed each line of a file last, as `git blame` tells."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from c2llm_lite.convert.calibrate.source_tree import Definition, SourceFile

LIMIT = 60  # seconds for one file; a history that takes longer is left out
_HEADER = re.compile(r"([0-9a-f]{40,64}) \d+ (\d+)(?: \d+)?")
_REFERENCE = re.compile(r"\s*\(#\d+\)$")  # a pull request's number


@dataclass(frozen=True)
class Commit:
    """time: its author's, in seconds since 1970. subject: the message's first line, without a request's number."""

    time: int
    subject: str


def of_lines(folder: Path, file: SourceFile) -> Sequence[Commit]:
    """The commit of each line; [] without git, outside a repository, and for a file that differs from HEAD's."""
    command = ["git", "-C", str(folder), "blame", "--porcelain", "-w", "HEAD", "--", file.path]
    try:
        told = subprocess.run(command, capture_output=True, timeout=LIMIT, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    lines = list(_parsed(told.decode(errors="replace")))
    same = [text.strip() for text, _ in lines] == [text.strip() for text in file.text.removesuffix("\n").split("\n")]
    return [commit for _, commit in lines] if same else []


def last_change(blamed: Sequence[Commit], definition: Definition) -> str:
    """The subject of the newest commit among a definition's lines; "" where none is known, and for a merge."""
    of_it = blamed[definition.start - 1 : definition.end]
    newest = max(of_it, key=lambda commit: commit.time).subject if of_it else ""
    return "" if newest.startswith("Merge ") else newest


def _parsed(told: str) -> Iterator[tuple[str, Commit]]:
    """Each line of the file and its commit. A commit is described where it first occurs."""
    known: dict[str, dict[str, str]] = {}
    described: dict[str, str] = {}
    for line in told.split("\n"):
        if line.startswith("\t"):
            when, subject = described.get("author-time", "0"), described.get("summary", "")
            yield line[1:], Commit(int(when), _REFERENCE.sub("", subject))
        elif header := _HEADER.fullmatch(line):
            described = known.setdefault(header[1], {})
        elif line:
            name, _, value = line.partition(" ")
            described[name] = value
