"""Retrieval scores of embeddings: NDCG, MRR and recall by ir-measures, and what a loss of them is worth."""

from __future__ import annotations

from dataclasses import dataclass

import ir_measures
import numpy as np
from ir_measures import RR, R, nDCG
from numpy.typing import NDArray

from c2llm_lite.pma import Array

MEASURES = {"ndcg@10": nDCG @ 10, "mrr": RR, "recall@1": R @ 1, "recall@10": R @ 10, "recall@100": R @ 100}
RESAMPLES = 10_000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean difference with its paired bootstrap 95% interval."""

    mean: float
    low: float
    high: float


def per_query(queries: Array, documents: Array, relevant: list[int]) -> dict[str, Floats]:
    """Each measure of MEASURES for each query, (queries,): every document ranked by cosine.

    queries: (q, d) and documents: (n, d), normalised; relevant: the row of each query's one relevant document.
    """
    scores = queries @ documents.T  # (q, n)
    run = [
        ir_measures.ScoredDoc(str(q), str(n), float(score))
        for q, row in enumerate(scores)
        for n, score in enumerate(row)
    ]
    qrels = [ir_measures.Qrel(str(q), str(n), 1) for q, n in enumerate(relevant)]
    found = {name: np.zeros(len(queries)) for name in MEASURES}
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
