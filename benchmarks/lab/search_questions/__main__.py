"""Scores each mode of the search, and ripgrep, on questions with known answers.

    python -m c2llm_lite.benchmarks.lab.search_questions BUNDLE [--held-out]

Downloads the packages, indexes them, and compares rules of fusion on the development questions. `--held-out` scores the
other half, which is done once, when the rule is chosen. Needs pip, npm, apt-get and rg.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import c2llm_lite
from c2llm_lite.search import Index, ranking
from c2llm_lite.search.nearest import highest

from ...bench.hardware import stamp
from ...bench.results_file import write_results
from ...bench.retrieval import paired_difference
from . import ripgrep
from .packages import BUILD, PACKAGES, fetched
from .questions import DEVELOPMENT, HELD_OUT, TOP, Question, by_kind, gain, is_answer, questions

RESULTS = Path(__file__).parents[2] / "results" / "search_questions.json"
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

SLOPES = ((0.7, 0.6), (0.8, 0.6), (0.8, 0.7), (0.9, 0.7), (0.9, 0.8), (1.0, 0.8), (1.0, 0.9))

Rule = Callable[[Any, Any, float], Any]  # cosines, words, strength -> scores


def main(bundle: str, *, held_out: Annotated[bool, typer.Option("--held-out")] = False) -> None:
    """Measure, print and keep the results."""
    tree = fetched()
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    with c2llm_lite.load(bundle) as model, Index(model, tree, index=BUILD / "index") as index:
        done = index.update(progress=True)
        result: dict[str, Any] = {
            "measure": f"NDCG@{TOP}",
            "packages": [package.archive for package in PACKAGES],
            "pieces": done.pieces,
            "target": model.bundle.manifest.target,
            "bundle": model.bundle.sha256,
            "machine": stamp(),
            DEVELOPMENT: _modes(index, tree, questions(DEVELOPMENT)),
            "rules, on development questions": _rules(index, questions(DEVELOPMENT)),
        }
        if held_out:
            result[HELD_OUT] = _modes(index, tree, questions(HELD_OUT))
        elif HELD_OUT in kept:
            result[HELD_OUT] = kept[HELD_OUT]
    write_results(RESULTS, result)
    print(json.dumps(result, indent=1))


def _modes(index: Index, tree: Path, asked: Sequence[Question]) -> dict[str, Any]:
    """NDCG@10 of each mode and of ripgrep; what hybrid gains over each, with the 95% interval paired by question."""
    gains: dict[str, list[float]] = {}
    for mode in ranking.MODES:
        gains[mode] = [
            gain([is_answer(question, hit) for hit in index.search(question.question, TOP, mode=mode)])
            for question in asked
        ]
    places = [place for held in index._contents.places.values() for place in held]
    gains["ripgrep"] = [
        gain(
            [
                (place.path, place.symbol) == (question.path, question.symbol)
                for place in ripgrep.ranked(tree, question.question, places, TOP)
            ]
        )
        for question in asked
    ]
    ours = np.array(gains["hybrid"])
    found: dict[str, Any] = {"questions": len(asked)}
    for name, values in gains.items():
        found[name] = by_kind(asked, values)
        if name != "hybrid":
            difference = asdict(paired_difference(ours, np.array(values)))
            found[f"hybrid over {name}"] = {part: round(value, 3) for part, value in difference.items()}
    return found


def _rules(index: Index, asked: Sequence[Question]) -> dict[str, Any]:
    """NDCG@10 of rules that hybrid search could use; definitions of what a question names come first in all."""
    vectors = [index._model.embed(question.question, prompt_name="query") for question in asked]
    with index._store.reading() as version:
        index._load(version)
        contents = index._contents
        rows = {int(id_): row for row, id_ in enumerate(contents.ids)}
        sides, answers = [], []
        for question, vector in zip(asked, vectors, strict=True):
            by_words = index._store.lexical.scores(question.question, ranking.MOST_BY_WORDS)
            strength = index._store.lexical.strength(question.question, max(by_words.values(), default=0.0))
            words = ranking.on_rows(by_words, contents.ids)
            named = ranking.on_rows(ranking.definitions(question.question, contents.places), contents.ids)
            sides.append((contents.vectors @ vector, words, strength, named))
            answers.append(
                {
                    rows[text]
                    for text, held in contents.places.items()
                    if any((place.path, place.symbol) == (question.path, question.symbol) for place in held)
                }
            )

        def scored(rule: Rule) -> dict[str, Any]:
            gains = []
            for (cosines, words, strength, named), right in zip(sides, answers, strict=True):
                best, _ = highest(rule(cosines, words, strength) + named, TOP)
                gains.append(gain([int(row) in right for row in best]))
            return by_kind(asked, gains)

        found = {f"reciprocal ranks, k={k}": scored(_reciprocal_ranks(k)) for k in (10, 60)}
        found |= {f"convex sum, vectors {share}": scored(_convex(share, 0)) for share in SHARES}
        found |= {f"convex sum, vectors {most} - {less} strength": scored(_convex(most, less)) for most, less in SLOPES}
    return found


def _reciprocal_ranks(k: int) -> Rule:
    def rule(cosines: Any, words: Any, strength: float) -> Any:
        ranks = [np.argsort(np.argsort(-scores, kind="stable")) for scores in (cosines, words)]
        return 1 / (k + ranks[0]) + np.where(words > 0, 1 / (k + ranks[1]), 0)

    return rule


def _convex(most: float, less: float) -> Rule:
    def rule(cosines: Any, words: Any, strength: float) -> Any:
        kept, (ranking.MEANING, ranking.LESS) = (ranking.MEANING, ranking.LESS), (most, less)
        try:
            return ranking.fuse(cosines, words, np.ones(len(cosines), bool), strength)
        finally:
            ranking.MEANING, ranking.LESS = kept

    return rule


if __name__ == "__main__":
    typer.run(main)
