"""The halves of calibration and the other roundings: every bundle is near full precision."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from checkpoints import write_checkpoint

from c2llm_lite.benchmarks.lab import roundings
from c2llm_lite.benchmarks.lab.calibration import measured
from c2llm_lite.benchmarks.lab.rotated_checkpoint import write_rotated
from c2llm_lite.convert import reference
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.text import TextTokenizer

CODE = [f"def f{i}(x, y):\n    return x + {i} * y" for i in range(70)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "checkpoint", layers=2)


@pytest.fixture
def ids(source: Path) -> list[list[int]]:
    """Of functions, then of their queries."""
    tokenizer = TextTokenizer(open_checkpoint(source).tokenizer_file, 64)
    return tokenizer.encode([*CODE[:5], *(f"add {i} times y" for i in range(5))])


def test_rows_of_a_random_checkpoint(source: Path, ids: list[list[int]]) -> None:
    checkpoint = open_checkpoint(source)
    full = reference.vectors(checkpoint, ids)
    rows = measured(checkpoint, str(source), "gguf:q4_0", given={"document": CODE[10:]}, ids=ids, full=full)
    assert [(row["rounding"], row["head"]) for row in rows] == [
        ("nearest", "own"),
        ("nearest", "recovered"),
        ("moved, gptq", "own"),
        ("moved, gptq", "recovered"),
    ]
    assert all(0.99 < row["cosine_percentile_1"] <= row["cosine_mean"] < 1 for row in rows)
    assert all(row["bits"] >= 4.5 for row in rows)


def test_other_ways_to_round(source: Path, ids: list[list[int]]) -> None:
    checkpoint = open_checkpoint(source)
    full = reference.vectors(checkpoint, ids)
    rows = list(roundings.measured(checkpoint, str(source), {"document": CODE[10:]}, ids, full))
    ways = ["nearest", "importance matrix", "gptq", "rotated, nearest", "rotated, moved, gptq"]
    assert [(row["way"], row["head"]) for row in rows] == [(way, head) for way in ways for head in ("own", "recovered")]
    assert all(0.99 < row["cosine_percentile_1"] <= row["cosine_mean"] < 1 for row in rows)


def test_columns_that_matter_are_rounded_better() -> None:
    weights = np.random.default_rng(0).standard_normal((64, 64), dtype=np.float32)
    errors = []
    for mattering in (0, 1):  # the even columns, or the odd ones
        moments = np.diag(np.where(np.arange(64) % 2 == mattering, 100, 1)).astype(np.float32)
        stored = roundings._by_importance(weights, moments).reshape(64, -1)
        rounded = gguf.dequantize(stored, gguf.GGMLQuantizationType.IQ4_NL)
        errors.append(float(np.square(rounded - weights)[:, ::2].mean()))
    assert errors[0] < 0.8 * errors[1] < 0.02


def test_a_rotated_checkpoint_computes_the_same(source: Path, ids: list[list[int]], tmp_path: Path) -> None:
    checkpoint, folder = open_checkpoint(source), tmp_path / "rotated"
    folder.mkdir()
    write_rotated(checkpoint, folder)
    rotated = open_checkpoint(folder)
    name = "layers.1.mlp.down_proj.weight"
    assert not np.allclose(rotated.tensor(name), checkpoint.tensor(name), atol=1e-3)
    np.testing.assert_allclose(reference.vectors(rotated, ids), reference.vectors(checkpoint, ids), atol=2e-6)
