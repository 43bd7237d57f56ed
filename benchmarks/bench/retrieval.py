"""Retrieval scores of embeddings: NDCG, MRR and recall by ir-measures, and what a loss of them is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ir_measures
import numpy as np
from ir_measures import RR, R, nDCG
from numpy.typing import NDArray

from c2llm_lite.pma import Array

MEASURES = {"ndcg@10": nDCG @ 10, "mrr@10": RR @ 10, "recall@1": R @ 1, "recall@10": R @ 10, "recall@100": R @ 100}
DEPTH = 100  # no measure looks further down
RESAMPLES = 10_000
Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Interval:
    """A mean difference with its paired bootstrap 95% interval."""

    mean: float
    low: float
    high: float


def ranked(scores: Array) -> Indices:
    """(q, n) scores -> (q, at most DEPTH) rows of documents, best first; of equals, the lower row first."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]


def per_query(ranking: Indices, relevant: Sequence[Mapping[int, int]]) -> dict[str, Floats]:
    """Each measure of MEASURES for each query, (q,).

    ranking: (q, depth), rows of documents, best first. relevant: each query's grades, by row of the document.
    """
    depth = ranking.shape[1]
    run = [
        ir_measures.ScoredDoc(str(query), str(document), float(depth - place))
        for query, row in enumerate(ranking)
        for place, document in enumerate(row)
    ]
    qrels = [
        ir_measures.Qrel(str(query), str(document), grade)
        for query, grades in enumerate(relevant)
        for document, grade in grades.items()
    ]
    found = {name: np.zeros(len(ranking)) for name in MEASURES}
    names = {measure: name for name, measure in MEASURES.items()}
    for metric in ir_measures.iter_calc(list(MEASURES.values()), qrels, run):
        found[names[metric.measure]][int(metric.query_id)] = metric.value
    return found


def paired_difference(ours: Floats, reference: Floats, *, seed: int = 0) -> Interval:
    """Mean of ours - reference over queries, with the percentile bootstrap over queries (both resampled together)."""
    difference = ours - reference
    draws = np.random.default_rng(seed).integers(0, len(difference), (RESAMPLES, len(difference)))
    low, high = np.percentile(difference[draws].mean(axis=1), [2.5, 97.5])
    return Interval(float(difference.mean()), float(low), float(high))
