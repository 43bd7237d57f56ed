"""Matrices rounded in order: each is adjusted to correct the errors of earlier ones."""

from __future__ import annotations

import copy
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint

from c2llm_lite.convert import reference
from c2llm_lite.convert.calibrate.layers import Calibration, round_in_order
from c2llm_lite.convert.calibrate.resume import Parts
from c2llm_lite.convert.checkpoint import Checkpoint, open_checkpoint
from c2llm_lite.pma import Array


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return open_checkpoint(write_checkpoint(tmp_path / "checkpoint", layers=3))


def texts(checkpoint: Checkpoint, count: int, seed: int) -> list[list[int]]:
    draw = np.random.default_rng(seed)
    return [draw.integers(0, checkpoint.backbone.vocab, 24).tolist() for _ in range(count)]


def coarse(weights: Array) -> Array:
    step = np.abs(weights).max() / 3
    rounded: Array = (np.rint(weights / step) * step).astype(np.float32)
    return rounded


def left_over(checkpoint: Checkpoint, given: list[list[int]], chosen: Callable[[str, Array], Array]) -> float:
    """The squared error of unseen texts' states, with each matrix as `chosen` leaves it, by its name and as moved."""
    kept: dict[str, Array] = {}

    def rounding(name: str, weights: Array, moments: Array) -> tuple[Array, Parts]:
        found = chosen(name, weights)
        return found, {"weights": found}

    def placing(name: str, parts: Parts) -> None:
        kept[name] = parts["weights"]

    round_in_order(checkpoint, Calibration(given), rounding, placing)
    rounded = copy.copy(checkpoint)
    rounded.tensor = lambda name: kept.get(name, checkpoint.tensor(name))  # type: ignore[method-assign]
    unseen = texts(checkpoint, 20, seed=1)
    pairs = zip(reference.states(rounded, unseen), reference.states(checkpoint, unseen), strict=True)
    return sum(float(np.square(ours - full).sum()) for ours, full in pairs)


def test_later_matrices_make_up_for_earlier_ones(checkpoint: Checkpoint) -> None:
    given = texts(checkpoint, 200, seed=0)
    moved = left_over(checkpoint, given, lambda name, weights: coarse(weights))
    unmoved = left_over(checkpoint, given, lambda name, weights: coarse(checkpoint.tensor(name)))
    assert moved < 0.75 * unmoved


def test_nothing_moves_where_nothing_was_lost(checkpoint: Checkpoint) -> None:
    seen = []

    def rounding(name: str, weights: Array, moments: Array) -> tuple[Array, Parts]:
        np.testing.assert_array_equal(weights, checkpoint.tensor(name))
        return weights, {}

    calibration = Calibration(texts(checkpoint, 4, seed=0))
    round_in_order(checkpoint, calibration, rounding, lambda name, parts: seen.append(name))
    matrices = [name for name in checkpoint.names() if name.startswith("layers.") and len(checkpoint.shape(name)) == 2]
    assert sorted(seen) == sorted(matrices)
    full = reference.states(checkpoint, calibration.texts)
    assert calibration.states is not None
    for ours, theirs in zip(calibration.states, full, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_few_texts_move_little(checkpoint: Checkpoint) -> None:
    """Ten tokens say nothing of a matrix, and do no harm."""
    given = [text[:5] for text in texts(checkpoint, 2, seed=0)]
    moved = left_over(checkpoint, given, lambda name, weights: coarse(weights))
    unmoved = left_over(checkpoint, given, lambda name, weights: coarse(checkpoint.tensor(name)))
    assert moved < 1.5 * unmoved


def test_memory_does_not_grow_with_the_groups_of_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Second moments of a wide matrix are summed as they come: 1 MiB each here, of 100 groups."""
    width, groups, tokens = 512, 100, 4
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "wide", layers=1, intermediate=width))
    monkeypatch.setattr(reference, "_GROUP", tokens)
    given = [text[:tokens] for text in texts(checkpoint, groups, seed=0)]
    assert len(list(reference.groups([tokens] * groups))) == groups
    tracemalloc.start()
    try:
        round_in_order(checkpoint, Calibration(given), lambda name, w, m: (w, {}), lambda name, parts: None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    states = groups * tokens * (5 * 64 + width) * 4
    assert peak < states + 24 * width * width * 4
