"""How near a target's vectors are to the full-precision ones: text by text, and in what they rank."""

from __future__ import annotations

from typing import Any

import numpy as np

from c2llm_lite import verify
from c2llm_lite.pma import Array

TOP = 10


def fidelity(ours: tuple[Array, Array], reference: tuple[Array, Array]) -> dict[str, float]:
    """Each pair: vectors of queries (q, d) and of documents (n, d), normalized.

    cosine_*: of each text's vector to its reference. top_10_kept: how much of the reference's ten best documents is
    among ours, over queries. rank_correlation: Spearman's, of a query's similarities to all documents, over queries.
    """
    cosines = verify.fidelity(np.concatenate(ours), np.concatenate(reference))
    ours_scores, reference_scores = (queries @ documents.T for queries, documents in (ours, reference))
    return {
        "cosine_mean": cosines.mean,
        "cosine_percentile_1": cosines.percentile_1,
        "cosine_worst": cosines.worst,
        "top_10_kept": top_kept(ours_scores, reference_scores),
        "rank_correlation": rank_correlation(ours_scores, reference_scores),
    }


def top_kept(ours: Array, reference: Array, top: int = TOP) -> float:
    """The share of the reference's `top` best columns that are among ours, over rows of (q, n) scores."""
    top = min(top, ours.shape[1])
    best = [np.argsort(-scores, axis=1, kind="stable")[:, :top] for scores in (ours, reference)]
    return float(np.mean([len(np.intersect1d(a, b)) / top for a, b in zip(*best, strict=True)]))


def rank_correlation(ours: Array, reference: Array) -> float:
    """Spearman's correlation of each row of (q, n) scores, n at least 2, over rows; equal scores do not occur."""
    centered = [_ranks(scores) - (scores.shape[1] - 1) / 2 for scores in (ours, reference)]
    products = np.sum(centered[0] * centered[1], axis=1)
    return float(np.mean(products / np.sum(centered[1] ** 2, axis=1)))


def _ranks(scores: Array) -> Any:
    return np.argsort(np.argsort(scores, axis=1, kind="stable"), axis=1, kind="stable").astype(np.float64)
