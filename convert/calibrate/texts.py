"""Calibration texts: the user's own, or documented functions of installed packages."""

from __future__ import annotations

import hashlib
import logging
import sysconfig
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from c2llm_lite import jsonl
from c2llm_lite.errors import ArgumentError

from .documented_code import SCORED_ON, Pair, pairs_of, sources, unique

# By the prompt's name that they are embedded under.
Texts = Mapping[str, Sequence[str]]

DEFAULT = "default"
PAIRS = 250
PAIRS_A_PACKAGE = 40  # so that no package's style dominates
PAIRS_A_FILE = 4
# Fewer fit their own peculiarities: with one text "a" the cosine to full precision was 0.880.
LEAST_TEXTS = 8
FEW_TEXTS, FEW_TOKENS = 50, 5_000

log = logging.getLogger(__name__)


def read(path: Path) -> Texts:
    """A JSONL file's: `text`, and `prompt_name` where it is not a document. Raises ValueError, naming the line."""
    texts: dict[str, list[str]] = {}
    for place, row in jsonl.read(path):
        found = row if isinstance(row, dict) else {}
        text, prompt = found.get("text"), found.get("prompt_name", "document")
        if not isinstance(text, str) or not isinstance(prompt, str):
            raise ArgumentError(f"{place}: not a JSON object with a string in the field `text`")
        texts.setdefault(prompt, []).append(text)
    if not texts:
        raise ArgumentError(f"{path} contains no texts")
    return texts


def default(pairs: int = PAIRS, seed: int = 0) -> Texts:
    """Functions of installed packages and their docstrings, `pairs` of each: the same where the same is installed.

    Raises ValueError if too little is installed to calibrate on.
    """
    folders = {Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")}
    found = _drawn([path for folder in sorted(folders) for path in _sources(folder)], pairs, seed)
    if not found:
        raise ArgumentError(
            "no package with documented functions is installed; pass your own texts with --calibrate FILE"
        )
    return {"document": [pair.code for pair in found], "query": [pair.query for pair in found]}


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


def _sources(folder: Path) -> Iterator[tuple[str, Path]]:
    for parts, path in sources(folder, skip=SCORED_ON):
        yield "/".join(parts), path


def _drawn(files: Sequence[tuple[str, Path]], count: int, seed: int) -> list[Pair]:
    """Files in an arbitrary order, always the same for a seed, a few functions of each, until there are enough."""

    def order(source: tuple[str, Path]) -> str:
        return hashlib.sha256(f"{seed} {source[0]}".encode()).hexdigest()

    drawn: list[Pair] = []
    taken: Counter[str] = Counter()
    code: set[str] = set()
    queries: set[str] = set()
    for name, path in sorted(files, key=order):
        package = name.partition("/")[0]
        if taken[package] >= PAIRS_A_PACKAGE:
            continue
        try:
            pairs = unique(pairs_of(path.read_text(encoding="utf-8"), name), code, queries)
        except (OSError, UnicodeDecodeError, SyntaxError, ValueError, RecursionError):
            continue
        drawn += pairs[:PAIRS_A_FILE]
        taken[package] += len(pairs[:PAIRS_A_FILE])
        if len(drawn) >= count:
            break
    return drawn[:count]
