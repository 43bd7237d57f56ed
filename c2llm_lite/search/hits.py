"""What a search finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .contents import Place


@dataclass(frozen=True)
class Hit:
    """A piece of code that was found.

    Attributes:
        path: The file, below the index's folder.
        line, end: The first and the last line, from 1.
        symbol: Such as "Stack.push"; "" for lines outside definitions.
        language: Such as "python".
        score: Of a hybrid or lexical search, 0 to 1, and up to 2 more for a definition of the identifier that is the
            query, or of a similar one. Of a semantic search and of `like`, the cosine.
        code: The text.
        also: Other places with the same text, as path:line.
    """

    path: str
    line: int
    end: int
    symbol: str
    language: str
    score: float
    code: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Duplicate:
    """Two nearly identical pieces. score: their cosine; 1.0 if the texts are identical."""

    score: float
    first: Hit
    second: Hit


def hit(places: Sequence[Place], text: str, score: float) -> Hit:
    """The hit of a text that is at these places, the first one foremost."""
    place, *others = places
    also = tuple(f"{other.path}:{other.start}" for other in others)
    return Hit(place.path, place.start, place.end, place.symbol, place.language, score, text, also)
