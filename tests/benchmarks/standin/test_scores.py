"""Scores of the stand-in: the fast bf16 vectors are the reference's, and a drawn task keeps every right document."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoints import write_checkpoint

from c2llm_lite.benchmarks.bench.data import Task
from c2llm_lite.convert import reference
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.text import TextTokenizer, prompts

torch = pytest.importorskip("torch")

from c2llm_lite.benchmarks.standin import scores as scoring  # noqa: E402  # imports torch


def test_vectors_and_scores_are_the_reference_s(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint", pma_heads=scoring.HEADS)
    checkpoint = open_checkpoint(folder)
    texts = {str(i): f"def f{i}(x):\n    return " + "x + " * (3 * i) + "1" for i in range(12)}
    given = Task("twins", texts, texts, {key: {key: 1} for key in texts}, "document", "document")
    ids = TextTokenizer(folder / "tokenizer.json", 64).encode(list(texts.values()), prompts()["document"])
    wanted = reference.vectors(checkpoint, ids)
    head = scoring.Head(checkpoint.head(), checkpoint.variant)
    found = scoring._vectors(scoring.Backbone(folder), head, ids)
    assert (found * wanted).sum(axis=1).min() > 0.999
    measured = scoring.scores(folder, checkpoint.head(), given, 64)
    assert measured["queries"] == measured["documents"] == 12
    assert measured["ndcg@10"] > 0.8  # each text is its own answer; those that the cut makes equal tie


def test_a_drawn_task_keeps_the_right_documents() -> None:
    texts = {str(i): f"text {i}" for i in range(50)}
    given = Task("x", texts, texts, {key: {key: 1} for key in texts})
    drawn = scoring._drawn(given, 10, 25)
    assert list(drawn.queries) == list(texts)[:10] == list(drawn.relevant)
    assert set(drawn.queries) < set(drawn.documents)
    assert len(drawn.documents) == 25
    assert len(scoring._drawn(given, 10, 500).documents) == 50
