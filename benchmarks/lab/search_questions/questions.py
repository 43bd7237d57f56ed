"""The questions: what is asked, and the definition that answers it.

Three kinds: `plain` language, which shares no word of the code with its answer; an `identifier` as somebody half
remembers it; and `keywords`. One half is for development: rules and weights are chosen on it. The other is held out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from c2llm_lite.search import Hit

QUESTIONS = Path(__file__).parent / "questions.jsonl"
KINDS = ("plain", "identifier", "keywords")
DEVELOPMENT, HELD_OUT = "development", "held out"
TOP = 10


@dataclass(frozen=True)
class Question:
    """path, symbol: of the answer. A long definition is several pieces, of which the best counts."""

    half: str
    kind: str
    question: str
    path: str
    symbol: str


def questions(half: str) -> list[Question]:
    """The questions of one half, in a fixed order."""
    rows = (json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines())
    return [Question(**row) for row in rows if row["half"] == half]


def gain(ranks: Sequence[bool]) -> float:
    """NDCG@10 of one question with one answer. ranks: of each result, best first, whether it is the answer."""
    return next((1 / math.log2(rank + 2) for rank, right in enumerate(ranks[:TOP]) if right), 0.0)


def is_answer(question: Question, hit: Hit) -> bool:
    """Whether a hit is the question's answer."""
    paths = [hit.path, *(place.rpartition(":")[0] for place in hit.also)]
    return question.path in paths and hit.symbol == question.symbol


def by_kind(asked: Sequence[Question], gains: Sequence[float]) -> dict[str, Any]:
    """Means of all questions and of each kind."""
    means = {"all": sum(gains) / len(gains)}
    for kind in KINDS:
        of_kind = [one for question, one in zip(asked, gains, strict=True) if question.kind == kind]
        means[kind] = sum(of_kind) / len(of_kind)
    return {name: round(mean, 3) for name, mean in means.items()}
