"""From vectors to figures: each target's scores, what it lost against the first, and how near its vectors are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from c2llm_lite.pma import Array

from .data import Task
from .fidelity import fidelity
from .forms import prices
from .retrieval import Floats, paired_difference, per_query, ranked


@dataclass(frozen=True)
class Measured:
    """A target's vectors of (queries, documents) by task, and what else was measured of it."""

    label: str
    vectors: dict[str, tuple[Array, Array]]
    costs: dict[str, Any]


def scored(measured: Sequence[Measured], tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """The rows of results.json: scores and losses in points of 100; the first of `measured` is the reference.

    pooled: of several tasks, what all their queries together lost, each query counting once.
    """
    reference = measured[0]
    grades = {t.name: _grades(t) for t in tasks}
    full = {t.name: _per_query(reference, t, grades[t.name]) for t in tasks}
    rows = []
    for one in measured:
        found: dict[str, Any] = {}
        own = full if one is reference else {t.name: _per_query(one, t, grades[t.name]) for t in tasks}
        for t in tasks:
            ours = own[t.name]
            found[t.name] = {
                "scores": {measure: _points(values.mean()) for measure, values in ours.items()},
                "forms": {
                    width: {form: _points(score) for form, score in by_form.items()}
                    for width, by_form in prices(*one.vectors[t.name], grades[t.name]).items()
                },
            }
            if one is not reference:
                near = fidelity(one.vectors[t.name], reference.vectors[t.name])
                found[t.name]["lost"] = {measure: _lost(full[t.name][measure], ours[measure]) for measure in ours}
                found[t.name]["fidelity"] = {name: round(value, 5) for name, value in near.items()}
        rows.append({"target": one.label, "tasks": found, **one.costs})
        if one is not reference and len(tasks) > 1:
            rows[-1]["pooled"] = _pooled(full, own)
    return rows


def _pooled(full: Mapping[str, dict[str, Floats]], own: Mapping[str, dict[str, Floats]]) -> dict[str, list[float]]:
    """By measure, over all queries of all tasks."""
    measures = next(iter(full.values()))
    return {
        measure: _lost(*(np.concatenate([task[measure] for task in of.values()]) for of in (full, own)))
        for measure in measures
    }


def _grades(t: Task) -> list[dict[int, int]]:
    """Each query's grades by the document's row, in the order of the vectors."""
    rows = {key: row for row, key in enumerate(t.documents)}
    return [{rows[key]: grade for key, grade in t.relevant[query].items()} for query in t.queries]


def _per_query(one: Measured, t: Task, grades: Sequence[dict[int, int]]) -> dict[str, Floats]:
    queries, documents = one.vectors[t.name]
    return per_query(ranked(queries @ documents.T), grades)


def _lost(reference: Floats, ours: Floats) -> list[float]:
    """Points lost: mean, and the paired 95% interval."""
    lost = paired_difference(reference, ours)
    return [_points(lost.mean), _points(lost.low), _points(lost.high)]


def _points(score: float) -> float:
    return round(100 * float(score), 2)
