"""Parses a request's JSON within limits: unexpected content is refused at its start, before it takes memory or time.

json.loads would build the whole body first, which takes 40 times its size for lists of lists and blocks all other
threads. Here each value is one short call of the json module, and their number is limited.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from ..errors import ArgumentError
from .failures import ApiError

FIELDS = 64  # per request: known ones, and unknown ones that are null
SPACE = re.compile(r"[ \t\n\r]*")
INTEGERS = re.compile(r"\[[-0-9, \t\n\r]*\]")


def _no_constant(name: str) -> NoReturn:
    raise ArgumentError(name)


DECODER = json.JSONDecoder(parse_constant=_no_constant)  # NaN and Infinity are not JSON


def read(text: str, known: Sequence[str], *, items: int) -> dict[str, Any]:
    """The fields of a JSON object. Each value is a scalar, a list of scalars, or a list of such lists.

    items: the longest list. Unknown fields that are null are ignored, because clients send unset fields. Raises
    ValueError if it is not JSON, ApiError 400 if it is not an object or has fields that no request has.
    """
    reader = _Reader(text, items)
    found = reader.fields(known)
    reader.end()
    return found


class _Reader:
    """The text and the current position."""

    def __init__(self, text: str, items: int) -> None:
        self._text = text
        self._at = 0
        self._items = items

    def fields(self, known: Sequence[str]) -> dict[str, Any]:
        if self._next() not in {"{", ""}:
            raise ApiError(400, "the body is not a JSON object")
        self._take("{")
        found: dict[str, Any] = {}
        if self._next() == "}":
            self._take("}")
            return found
        for _ in range(FIELDS):
            name = self._name()
            if name in known:
                found[name] = self._value(name)
            elif self._next() != "n" or self._scalar() is not None:
                # Ignoring a misspelled prompt_name would silently give vectors of another kind.
                name = name[:64].encode("ascii", "replace").decode()
                raise ApiError(400, f"unknown field {name!r}; the fields are {', '.join(known)}", param=name)
            if self._take(",}") == "}":
                return found
        raise ApiError(400, f"the request has more than {FIELDS} fields")

    def end(self) -> None:
        if self._next():
            raise ArgumentError("unexpected text after the object")

    def _name(self) -> str:
        if self._next() != '"':
            raise ArgumentError("a field name is missing")
        name: str = self._scalar()
        self._take(":")
        return name

    def _value(self, name: str, *, depth: int = 0) -> Any:
        following = self._next()
        if following == "{":
            raise ApiError(400, f"{name} is or contains a JSON object; no field accepts one", param=name)
        if following != "[":
            return self._scalar()
        if depth == 2:
            raise ApiError(400, f"{name} is nested too deeply; no field accepts lists of lists of lists", param=name)
        integers = INTEGERS.match(self._text, self._at)
        if integers:
            if self._text.count(",", self._at, integers.end()) >= self._items:
                raise self._too_many(name)
            return self._scalar()
        self._take("[")
        found: list[Any] = []
        while True:
            if len(found) == self._items:
                raise self._too_many(name)
            found.append(self._value(name, depth=depth + 1))
            if self._take(",]") == "]":
                return found

    def _too_many(self, name: str) -> ApiError:
        return ApiError(400, f"{name} has over {self._items:,} items: send several requests", param=name)

    def _scalar(self) -> Any:
        """The scalar at the current position."""
        value, self._at = DECODER.raw_decode(self._text, self._at)
        return value

    def _next(self) -> str:
        """The next character that is not a space; empty at the end."""
        space = SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._text[self._at : self._at + 1]

    def _take(self, characters: str) -> str:
        """Take the next character, which must be one of these."""
        found = self._next()
        if not found or found not in characters:
            raise ArgumentError(f"expected one of {characters}")
        self._at += 1
        return found
