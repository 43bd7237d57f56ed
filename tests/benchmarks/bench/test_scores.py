"""Scores against cases computed by hand, the bootstrap against a case with a known answer, fidelity against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from c2llm_lite.benchmarks.bench.fidelity import fidelity, rank_correlation, top_kept
from c2llm_lite.benchmarks.bench.forms import prices
from c2llm_lite.benchmarks.bench.retrieval import paired_difference, per_query, ranked
from c2llm_lite.vectors import normalize


def unit(*shape: int, seed: int = 0) -> np.ndarray:
    return normalize(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def test_scores_are_those_computed_by_hand():
    scores = np.array([[0.9, 0.8, 0.1, 0.3], [0.1, 0.2, 0.3, 0.4]], np.float32)
    found = per_query(ranked(scores), [{1: 1, 2: 2}, {3: 1}])
    # First query: 0, 1 (grade 1), 3, 2 (grade 2). Second: the best is the relevant one.
    gain = 1 / math.log2(3) + 2 / math.log2(5)
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    assert found["ndcg@10"] == pytest.approx([gain / ideal, 1])
    assert found["mrr@10"] == pytest.approx([1 / 2, 1])
    assert found["recall@1"] == pytest.approx([0, 1])
    assert found["recall@10"] == pytest.approx([1, 1])


def test_a_relevant_document_below_the_tenth_counts_in_recall_at_100_alone():
    scores = -np.arange(150, dtype=np.float32)[None]
    found = per_query(ranked(scores), [{50: 1}])
    assert {name: float(values[0]) for name, values in found.items()} == {
        "ndcg@10": 0,
        "mrr@10": 0,
        "recall@1": 0,
        "recall@10": 0,
        "recall@100": 1,
    }
    assert per_query(ranked(scores), [{120: 1}])["recall@100"] == [0]


def test_of_equals_the_lower_row_comes_first():
    assert ranked(np.array([[1, 2, 2, 1]], np.float32)).tolist() == [[1, 2, 0, 3]]


def test_the_bootstrap_knows_a_case_with_a_known_answer():
    random = np.random.default_rng(1)
    reference = random.random(400)
    same = paired_difference(reference, reference)
    assert (same.mean, same.low, same.high) == (0, 0, 0)
    # Differences of known mean and spread: the interval is the mean and 1.96 standard errors to each side.
    ours = reference + random.normal(0.05, 0.2, 400)
    found = paired_difference(ours, reference)
    difference = ours - reference
    error = 1.96 * difference.std() / math.sqrt(400)
    assert found.mean == pytest.approx(difference.mean())
    assert found.low == pytest.approx(difference.mean() - error, abs=0.1 * error)
    assert found.high == pytest.approx(difference.mean() + error, abs=0.1 * error)
    assert paired_difference(ours, reference) == found  # the same seed, the same interval


def test_rank_correlation_is_scipy_s():
    ours, reference = unit(5, 40, seed=1), unit(5, 40, seed=2)
    expected = np.mean([spearmanr(a, b).statistic for a, b in zip(ours, reference, strict=True)])
    assert rank_correlation(ours, reference) == pytest.approx(expected)
    assert rank_correlation(reference, reference) == pytest.approx(1)
    assert rank_correlation(-reference, reference) == pytest.approx(-1)


def test_the_ten_best_that_stay():
    reference = np.arange(20, dtype=np.float32)[None]  # best: 19 down to 10
    ours = reference.copy()
    ours[0, 19], ours[0, 0] = -1, 30
    assert top_kept(ours, reference) == pytest.approx(0.9)
    assert top_kept(reference, reference) == 1


def test_fidelity_of_the_reference_itself_is_perfect():
    vectors = unit(6, 16), unit(30, 16, seed=3)
    found = fidelity(vectors, vectors)
    assert found == pytest.approx(dict.fromkeys(found, 1), abs=1e-6)


def test_forms_and_widths_have_their_prices():
    documents = unit(300, 600)
    queries = normalize(documents[:50] + 0.08 * np.random.default_rng(5).standard_normal((50, 600), dtype=np.float32))
    found = prices(queries, documents, [{i: 1} for i in range(50)])
    assert list(found) == ["600", "512", "256", "128"]
    assert found["600"]["float32"] == 1
    assert found["600"]["int8"] == pytest.approx(1, abs=0.01)
    assert found["128"]["binary"] < found["128"]["float32"]
    rescored = next(score for form, score in found["128"].items() if "rescored" in form)
    assert found["128"]["binary"] < rescored <= found["128"]["float32"] + 0.02
