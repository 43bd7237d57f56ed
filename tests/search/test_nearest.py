"""What is found is what is nearest: exactly among few, and nearly always among many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from c2llm_lite.search import nearest as module
from c2llm_lite.search.duplicates import pairs
from c2llm_lite.search.nearest import Nearest
from c2llm_lite.search.signs import QUERY_BITS, Signs
from c2llm_lite.vectors import normalise


def _vectors(count: int, width: int, seed: int = 0) -> Any:
    return normalise(np.random.default_rng(seed).standard_normal((count, width), dtype=np.float32))


@pytest.mark.parametrize("count", [0, 1, 5, 300])
def test_among_few_every_vector_is_compared(count: int) -> None:
    vectors, query = _vectors(count, 16), _vectors(1, 16, 1)[0]
    rows, cosines = Nearest(vectors).search(query, 10)
    expected = np.argsort(-(vectors @ query), kind="stable")[:10]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(cosines, (vectors @ query)[expected], atol=1e-6)


def test_only_allowed_rows_are_found() -> None:
    vectors, query = _vectors(300, 16), _vectors(1, 16, 1)[0]
    allowed = np.arange(3, 300, 7)
    rows, _ = Nearest(vectors).search(query, 5, allowed)
    np.testing.assert_array_equal(rows, allowed[np.argsort(-(vectors[allowed] @ query))[:5]])
    assert len(Nearest(vectors).search(query, 5, allowed[:0])[0]) == 0


@pytest.mark.parametrize("width", [64, 100, 896])
def test_the_estimate_is_the_product_of_rounded_query_and_signs(width: int) -> None:
    vectors, query = _vectors(5000, width) + np.float32(0.05), _vectors(1, width, 1)[0]
    centred = vectors - vectors.mean(axis=0)
    signs = np.where(centred > 0, 1, -1) * np.abs(centred).mean(axis=1, keepdims=True)
    steps, limit = 2**QUERY_BITS - 1, 3 * query.std()
    levels = np.rint((np.clip(query, -limit, limit) / limit + 1) * (steps / 2))
    expected = np.argsort(-(signs @ (2 * levels / steps - 1)))[:400]
    found = Signs(vectors).candidates(query, 400)
    assert len(found) == 400
    assert len(set(found) & set(expected)) >= 398  # float32 may order equals otherwise


def test_among_many_nearly_all_of_the_nearest_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXACT_ROWS", 1000)
    monkeypatch.setattr(module, "LEAST_CANDIDATES", 2000)
    vectors = _vectors(10_000, 128)
    searched = Nearest(vectors)
    queries = _vectors(30, 128, 1)
    found = [set(searched.search(query, 10)[0].tolist()) for query in queries]
    exact = [set(np.argsort(-(vectors @ query))[:10].tolist()) for query in queries]
    recall = np.mean([len(a & b) / 10 for a, b in zip(found, exact, strict=True)])
    assert recall >= 0.98
    allowed = np.arange(0, 10_000, 2)
    rows, cosines = searched.search(queries[0], 10, allowed)
    assert set(rows.tolist()) <= set(allowed.tolist())
    assert (np.diff(cosines) <= 0).all()


def test_a_vector_finds_itself_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXACT_ROWS", 100)
    monkeypatch.setattr(module, "LEAST_CANDIDATES", 10)
    vectors = _vectors(3000, 72)
    searched = Nearest(vectors)
    for row in (0, 17, 2999):
        rows, cosines = searched.search(vectors[row], 1)
        assert rows[0] == row
        assert cosines[0] == pytest.approx(1)


def test_pairs_are_those_of_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("c2llm_lite.search.duplicates.BLOCK", 32)
    monkeypatch.setattr("c2llm_lite.search.duplicates.COLUMNS", 50)
    vectors = _vectors(200, 8)
    products = vectors @ vectors.T
    advanced: list[int] = []
    found = pairs(vectors, 0.8, advanced.append)
    expected = {(int(a), int(b)) for a, b in zip(*np.nonzero(np.triu(products >= 0.8, 1)), strict=True)}
    assert {(a, b) for a, b, _ in found} == expected
    assert [cosine for _, _, cosine in found] == sorted((cosine for _, _, cosine in found), reverse=True)
    assert sum(advanced) == 200
    assert pairs(vectors[:0], 0.8, advanced.append) == []


def test_too_many_pairs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("c2llm_lite.search.duplicates.MOST", 100)
    with pytest.raises(ValueError, match="higher threshold"):
        pairs(_vectors(50, 4), 0.01, lambda done: None)
