"""Parts a definition into what its comment says of it and the code alone.

Python's documentation is the docstring; that of the other languages the comment above, in the forms that their own
tools read (Javadoc, JSDoc, Doxygen, rustdoc, XML documentation, YARD), without their tags.
"""

from __future__ import annotations

import re
from itertools import takewhile

from .documented_code import MIN_CODE_LINES, pairs_of

_LINE = re.compile(r"(?://[/!]?|#(?![\[!]))\s?(.*)")
_BLOCK = re.compile(r"/\*[*!]?")
# @param, \return; <param …>; rustdoc's `# Errors`.
_SECTION = re.compile(r"\s*(?:[@\\]\w+|<(?:param|typeparam|returns|remarks|exception|example)\b|#+ )")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_INLINE = re.compile(r"\{@\w+\s+([^{}]*)\}")  # {@code x}, {@link X}
# What stands in a comment and says nothing of the code: for a linter, of a license, to be done.
_OTHER = re.compile(r"\W*(?:copyright|licen[sc]e|todo|fixme|eslint|nolint|noqa|type:|pragma|tslint|rubocop)", re.I)


def parted(text: str, language: str) -> tuple[str, str]:
    """The documentation's first paragraph, "" without one, and the definition without it.

    text: a definition as search cuts it, with the comment above. language: as search names it.
    """
    if language == "python":
        return _python(text)
    comment, code = _leading_comment(text.split("\n"))
    return first_paragraph(comment), "\n".join(code)


def is_long_enough(code: str) -> bool:
    """Whether the code has lines enough; blank ones are not counted."""
    return sum(bool(line.strip()) for line in code.split("\n")) >= MIN_CODE_LINES


def first_paragraph(comment: list[str]) -> str:
    """Of a comment's lines, its signs taken off: in one line, without markup."""
    said = [line for line in comment if not _TAG.fullmatch(line.strip())]
    while said and not said[0].strip():
        del said[0]
    paragraph = takewhile(lambda line: line.strip() and not _SECTION.match(line), said)
    text = " ".join(_TAG.sub(" ", _INLINE.sub(r"\1", " ".join(paragraph))).split())
    return "" if _OTHER.match(text) else text


def _python(text: str) -> tuple[str, str]:
    try:
        (pair,) = pairs_of(text, "")
    except (SyntaxError, ValueError, RecursionError):  # none, or a class, whose methods' bodies were taken out
        return "", text
    return pair.query, pair.code


def _leading_comment(lines: list[str]) -> tuple[list[str], list[str]]:
    """The comment's lines without its signs, and the lines after it."""
    said: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        if not line:
            said.append("")
        elif found := _LINE.match(line):
            said.append(found[1])
        elif opened := _BLOCK.match(line):
            inside, line = True, line[opened.end() :]
            while inside and at < len(lines):
                body, end, _ = line.partition("*/")
                said.append(body.strip().removeprefix("*").strip())
                inside = not end
                if inside and (at := at + 1) < len(lines):
                    line = lines[at].strip()
        else:
            break
        at += 1
    return said, lines[at:]
