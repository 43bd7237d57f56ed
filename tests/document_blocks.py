"""The fenced blocks of a Markdown page, and the commands and expected output of a console block."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# A block, the HTML comment before it, and a block of text after it, which is what a Python block prints.
FENCE = re.compile(
    r"(?:<!-- (?P<note>[^>]*) -->\n+)?^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
NOT_RUN = "not run: "
ANYTHING = "…"


@dataclass
class Block:
    """One fenced block. reason: why it is not run; None if it is."""

    language: str
    body: str
    line: int
    reason: str | None
    printed: str = ""  # by a Python block


@dataclass
class Step:
    """A command of a console block and what it prints."""

    command: str
    printed: str


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in order. A text block right after a Python block is that block's output."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    end_of_python = -1
    for match in FENCE.finditer(text):
        if match["language"] == "text" and not text[end_of_python : match.start()].strip() and end_of_python > 0:
            found[-1].printed = match["body"]
            continue
        note = match["note"] or ""
        reason = note.removeprefix(NOT_RUN) if note.startswith(NOT_RUN) else None
        line = text.count("\n", 0, match.start("body")) + 1
        found.append(Block(match["language"], match["body"], line, reason))
        end_of_python = match.end() if match["language"] == "python" else -1
    return found


def steps(body: str) -> list[Step]:
    """The commands of a console block: lines after "$ ", with continued lines; the other lines are output."""
    found: list[Step] = []
    continued = False
    for line in body.splitlines():
        if continued:
            found[-1].command += f"\n{line}"
        elif line.startswith("$ "):
            found.append(Step(line[2:], ""))
        else:
            assert found, f"a console block begins with output: {line!r}"
            found[-1].printed += f"{line}\n"
        continued = line.endswith("\\") and (continued or line.startswith("$ "))
    return found


def matches(documented: str, printed: str) -> bool:
    """Whether a command printed what the page shows, where … matches any text and trailing spaces do not count."""
    pattern = ".*?".join(map(re.escape, _without_trailing_spaces(documented).split(ANYTHING)))
    return re.fullmatch(pattern, _without_trailing_spaces(printed), re.DOTALL) is not None


def _without_trailing_spaces(text: str) -> str:
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE).rstrip("\n")
