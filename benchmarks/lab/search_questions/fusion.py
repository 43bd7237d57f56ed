"""Compares the modes, and rules of fusion, on the development questions.

    python -m c2llm_lite.benchmarks.lab.search_questions.fusion BUNDLE

Each question has one answer: the smallest piece that covers its line. Printed and kept: NDCG@10 for each mode and kind
of question, and of rules and weights that hybrid search could use instead.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import c2llm_lite
from c2llm_lite.search import Index, lexical, ranking
from c2llm_lite.search.identifiers import split
from c2llm_lite.search.nearest import highest

from .packages import BUILD, fetched

QUESTIONS = Path(__file__).parent / "development.json"
RESULTS = Path(__file__).parents[2] / "results" / "search_fusion.json"
KINDS = ("plain", "identifier", "keywords")
TOP = 10
SHORT = 3  # letters
SHARES = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
COLUMNS = ((1.0, 1.0, 1.0), (1.5, 1.2, 1.0), (2.0, 1.0, 1.0), (2.0, 1.5, 1.0), (4.0, 2.0, 1.0), (8.0, 4.0, 1.0))

Rule = Callable[[Any, Any], Any]  # cosines, words -> scores


def main(bundle: str) -> None:
    """Measure, print and keep the results."""
    asked = json.loads(QUESTIONS.read_text())
    result: dict[str, Any] = {"questions": len(asked), "measure": f"NDCG@{TOP}"}
    with c2llm_lite.load(bundle) as model, Index(model, fetched(), index=BUILD / "index") as index:
        result["pieces"] = index.update(progress=True).pieces
        result["target"], result["bundle"] = model.bundle.manifest.target, model.bundle.sha256
        vectors = [model.embed(question["question"], prompt_name="query") for question in asked]
        with index._store.reading() as version:
            index._load(version)
            _check_plain(index, asked)
            rules = {
                "semantic": lambda cosines, words: cosines,
                "lexical": lambda cosines, words: ranking.by_words(words),
                "hybrid": _fused,
                "reciprocal ranks, k=60": _reciprocal_ranks,
            }
            result["rules"] = {name: _scored(index, asked, vectors, rule) for name, rule in rules.items()}
            chosen = lexical.WEIGHTS
            result["by weights of symbol, path, body, and share of the vectors"] = by_weights = {}
            for lexical.WEIGHTS in COLUMNS:  # type: ignore[misc]
                by_weights[str(lexical.WEIGHTS)] = {
                    str(share): _scored(index, asked, vectors, _sum(share)) for share in SHARES
                }
            lexical.WEIGHTS = chosen
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def _scored(index: Index, asked: list[dict[str, Any]], vectors: list[Any], rule: Rule) -> dict[str, float]:
    """NDCG@10 of each kind of question, and of all. Definitions of an identifier come first except by vectors alone."""
    contents = index._contents
    gains: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for question, vector in zip(asked, vectors, strict=True):
        words = ranking.on_rows(index._store.lexical.scores(question["question"], 1000), contents.ids)
        cosines = contents.vectors @ vector
        scores = rule(cosines, words)
        if scores is not cosines:
            scores = scores + ranking.on_rows(ranking.definitions(question["question"], contents.places), contents.ids)
        rows, _ = highest(scores, TOP)
        answer = _answer(index, question["path"], question["line"])
        found = [int(contents.ids[row]) for row in rows]
        gains[question["kind"]].append(1 / math.log2(found.index(answer) + 2) if answer in found else 0.0)
    means = {kind: round(float(np.mean(values)), 3) for kind, values in gains.items()}
    return means | {"all": round(float(np.mean([gain for values in gains.values() for gain in values])), 3)}


def _answer(index: Index, path: str, line: int) -> int:
    """The id of the text whose piece is the smallest that covers the line."""
    covering = [
        place
        for places in index._contents.places.values()
        for place in places
        if place.path == path and place.start <= line <= place.end
    ]
    return min(covering, key=lambda place: place.end - place.start).text


def _check_plain(index: Index, asked: list[dict[str, Any]]) -> None:
    """Stop if a plain question shares a word of the code, longer than SHORT, with its answer."""
    for question in asked:
        if question["kind"] == "plain":
            (text,) = index._store.texts([_answer(index, question["path"], question["line"])])
            words = set(split(question["question"]).split()) & set(split(text).split())
            if shared := sorted(word for word in words if len(word) > SHORT):
                sys.exit(f"{question['question']!r} shares {', '.join(shared)} with its answer; reword it")


def _reciprocal_ranks(cosines: Any, words: Any) -> Any:
    ranks = [np.argsort(np.argsort(-scores, kind="stable")) for scores in (cosines, words)]
    return 1 / (60 + ranks[0]) + np.where(words > 0, 1 / (60 + ranks[1]), 0)


def _fused(cosines: Any, words: Any) -> Any:
    return ranking.fuse(cosines, words, np.ones(len(cosines), bool))


def _sum(share: float) -> Rule:
    def rule(cosines: Any, words: Any) -> Any:
        kept, ranking.MEANING = ranking.MEANING, share
        try:
            return _fused(cosines, words)
        finally:
            ranking.MEANING = kept

    return rule


if __name__ == "__main__":
    main(sys.argv[1])
