"""Search finds exactly the nearest vectors, and duplicates are the pairs of the whole matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from c2llm_lite.search.duplicates import pairs
from c2llm_lite.search.nearest import nearest
from c2llm_lite.vectors import normalize


def _vectors(count: int, width: int, seed: int = 0) -> Any:
    return normalize(np.random.default_rng(seed).standard_normal((count, width), dtype=np.float32))


@pytest.mark.parametrize("count", [0, 1, 5, 300])
def test_every_vector_is_compared(count: int) -> None:
    vectors, query = _vectors(count, 16), _vectors(1, 16, 1)[0]
    rows, cosines = nearest(vectors, query, 10)
    expected = np.argsort(-(vectors @ query), kind="stable")[:10]
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_allclose(cosines, (vectors @ query)[expected], atol=1e-6)


def test_only_allowed_rows_are_found() -> None:
    vectors, query = _vectors(300, 16), _vectors(1, 16, 1)[0]
    allowed = np.arange(3, 300, 7)
    rows, _ = nearest(vectors, query, 5, allowed)
    np.testing.assert_array_equal(rows, allowed[np.argsort(-(vectors[allowed] @ query))[:5]])
    assert len(nearest(vectors, query, 5, allowed[:0])[0]) == 0


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
