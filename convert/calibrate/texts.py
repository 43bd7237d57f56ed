"""Calibration texts: the user's own, or the default ones, which are part of this package."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from c2llm_lite import jsonl
from c2llm_lite.errors import ArgumentError
from c2llm_lite.text import TextTokenizer, choose_prompt, prompts

# By the prompt's name that they are embedded under.
Texts = Mapping[str, Sequence[str]]
# A query, and the text that answers it.
Pairs = Sequence[tuple[str, str]]

DEFAULT = "default"
# Code in 13 languages and questions, written for this package: no source that a benchmark scores has any of them.
DEFAULT_TEXTS = Path(__file__).with_name("default_texts.jsonl")
# Fewer fit their own peculiarities: with one text "a" the cosine to full precision was 0.880.
LEAST_TEXTS = 8
FEW_TEXTS, FEW_TOKENS = 50, 5_000
TOKENS = 512  # of a text; more take time and add little variety
ROUNDING_TOKENS = 100_000  # that matrices are rounded on, at most: twice the default texts'; time grows with them

log = logging.getLogger(__name__)


def read(path: Path) -> Texts:
    """A JSONL file's: `text`, and `prompt_name` where it is not a document; a `query` is a text of its own.

    Raises ValueError, naming the line.
    """
    texts: dict[str, list[str]] = {}
    for row in _rows(path):
        texts.setdefault(row.prompt, []).append(row.text)
        if row.query is not None:
            texts.setdefault("query", []).append(row.query)
    if not texts:
        raise ArgumentError(f"{path} contains no texts")
    return texts


def read_pairs(path: Path) -> Pairs:
    """A JSONL file's lines with a `query`. Raises as read does."""
    return [(row.query, row.text) for row in _rows(path) if row.query is not None]


class _Row(NamedTuple):
    text: str
    prompt: str
    query: str | None


def _rows(path: Path) -> Iterator[_Row]:
    for place, row in jsonl.read(path):
        found = row if isinstance(row, dict) else {}
        text, prompt, query = found.get("text"), found.get("prompt_name", "document"), found.get("query")
        if not isinstance(text, str) or not isinstance(prompt, str) or not isinstance(query, str | None):
            raise ArgumentError(f"{place}: not a JSON object with a string in the field `text`")
        yield _Row(text, prompt, query)


def default() -> Texts:
    """The texts of --calibrate default: the same everywhere."""
    return read(DEFAULT_TEXTS)


def token_ids(tokenizer: TextTokenizer, texts: Texts) -> list[list[int]]:
    """The texts with their prompts, prompt by prompt, each cut to TOKENS."""
    return [
        list(text[:TOKENS])
        for name, given in texts.items()
        for text in tokenizer.encode(given, choose_prompt(prompts(), name, None))
    ]


def evenly(ids: Sequence[Sequence[int]], tokens: int) -> list[Sequence[int]]:
    """All of the texts, or every second, third and so on, so that about `tokens` at most remain."""
    return list(ids[:: max(1, -(-sum(map(len, ids)) // tokens))])


def check_enough(ids: Sequence[Sequence[int]]) -> None:
    """Refuse too few different texts, given as token ids, and warn of few. Raises ArgumentError."""
    different = {tuple(text) for text in ids}
    remedy = "give a few hundred texts that resemble your data, or --calibrate default"
    if len(different) < LEAST_TEXTS:
        raise ArgumentError(
            f"{len(different)} different calibration texts; at least {LEAST_TEXTS} are needed: {remedy}"
        )
    tokens = sum(map(len, different))
    if len(different) < FEW_TEXTS or tokens < FEW_TOKENS:
        log.warning("%d different calibration texts with %d tokens are few: %s", len(different), tokens, remedy)
