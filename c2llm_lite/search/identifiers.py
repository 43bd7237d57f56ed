"""Splits code into the words of the lexical index: every identifier whole, and its parts.

Split here because Python's sqlite3 cannot register a tokenizer with FTS5.
"""

from __future__ import annotations

import functools
import re

LONGEST = 100  # characters; a longer run of letters is data
_WHOLE = re.compile(r"\w+")
# HTTPServer2 → HTTP, Server, 2. Letters outside ASCII are taken as lowercase.
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\dA-Z_]+|\d+")
_SEVERAL_PARTS = re.compile(r"[^\W_]_+[^\W_]|[a-z][A-Z]")
_SEPARATOR = re.compile(r"\.|::|#|->")
_IDENTIFIER = re.compile(r"[^\W\d]\w*(?:(?:\.|::|#|->)[^\W\d]\w*)*")


def split(text: str) -> str:
    """The words of a text, in lowercase: "readJSONLines" becomes "readjsonlines read json lines"."""
    return " ".join(filter(None, map(_words_of, _WHOLE.findall(text))))


@functools.lru_cache(maxsize=1 << 17)  # code repeats its identifiers: this halves the time to split a tree
def _words_of(whole: str) -> str:
    if len(whole) > LONGEST:
        return ""
    parts = _PART.findall(whole)
    return " ".join([whole.lower(), *(part.lower() for part in parts if len(parts) > 1 or part != whole)])


def is_identifier(query: str) -> bool:
    """Whether a query is one identifier, such as read_jsonl or Stack.push."""
    return _IDENTIFIER.fullmatch(query) is not None


def identifiers(query: str) -> list[str]:
    """The last name of the identifier that a query is, or else its words that look like names of several parts."""
    if is_identifier(query):
        return [last_name(query)]
    return [word for word in _WHOLE.findall(query) if _SEVERAL_PARTS.search(word)]


def last_name(symbol: str) -> str:
    """The name that a symbol such as Stack.push ends with."""
    return _SEPARATOR.split(symbol)[-1]


def trigrams(name: str) -> frozenset[str]:
    """Runs of three characters, without case and underscores: similar names share many of them."""
    plain = f"^{name.casefold().replace('_', '')}$"
    return frozenset(plain[i : i + 3] for i in range(len(plain) - 2))


def names(symbol: str, identifier: str) -> bool:
    """Whether a symbol is this identifier, or ends with it: Stack.push is named by push and by Stack.push."""
    return f".{_SEPARATOR.sub('.', symbol)}".endswith("." + _SEPARATOR.sub(".", identifier))
