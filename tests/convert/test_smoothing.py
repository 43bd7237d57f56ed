"""Smoothing changes no state, is exact in 16 bits, and takes out the outliers that int8 activations suffer from."""

from __future__ import annotations

import numpy as np
import pytest

from c2llm_lite.convert import reference
from c2llm_lite.convert.checkpoint import Checkpoint, open_checkpoint
from c2llm_lite.convert.smoothing import SHARED_INPUTS, Smoothing

TEXTS = [list(range(1, 60)), list(range(200, 230)), [7, 7, 9]]
OUTLIER = 3
GAIN = 64.0


@pytest.fixture
def checkpoint(checkpoint_folder) -> Checkpoint:
    """With one gain of the first layer far above the others, as language models have them."""
    opened = open_checkpoint(checkpoint_folder)
    stored = opened.tensor

    def tensor(name: str) -> np.ndarray:
        values = stored(name)
        if name == "layers.0.input_layernorm.weight":
            values = values.copy()
            values[OUTLIER] *= GAIN
        return values

    opened.tensor = tensor  # type: ignore[method-assign]
    return opened


def inputs(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    reference.states(checkpoint, TEXTS, observe=found.__setitem__)
    return found


def smoothed(checkpoint: Checkpoint, smoothing: Smoothing) -> Checkpoint:
    stored = checkpoint.tensor
    checkpoint.tensor = lambda name: smoothing(name, stored(name))  # type: ignore[method-assign]
    return checkpoint


def test_states_are_what_they_were(checkpoint):
    before = reference.states(checkpoint, TEXTS)
    after = reference.states(smoothed(checkpoint, Smoothing(checkpoint, TEXTS)), TEXTS)
    for ours, whole in zip(after, before, strict=True):
        np.testing.assert_allclose(ours, whole, rtol=1e-5, atol=1e-5 * float(np.abs(whole).max()))


def test_every_input_is_divided_by_what_its_matrices_are_multiplied_by(checkpoint):
    before = inputs(checkpoint)
    smoothing = Smoothing(checkpoint, TEXTS)
    after = inputs(smoothed(checkpoint, smoothing))
    for readers, _ in SHARED_INPUTS.values():
        name = f"layers.1.{readers[0]}.weight"
        factors = smoothing(name, np.ones(checkpoint.shape(name), np.float32))[0]
        assert len(np.unique(factors)) > 1
        np.testing.assert_allclose(after[name] * factors, before[name], rtol=1e-3, atol=1e-5)


def test_factors_are_powers_of_two(checkpoint):
    smoothing = Smoothing(checkpoint, TEXTS)
    for name in ("layers.0.self_attn.q_proj.weight", "layers.0.input_layernorm.weight", "layers.1.mlp.up_proj.weight"):
        mantissas, _ = np.frexp(smoothing(name, np.ones(checkpoint.shape(name), np.float32)))
        assert np.all(mantissas == 0.5)


def test_an_outlier_is_shared_between_activations_and_weights(checkpoint):
    name = "layers.0.self_attn.q_proj.weight"

    def spread(values: np.ndarray) -> float:
        sizes = np.sqrt(np.square(values).mean(axis=0))
        return float(sizes.max() / np.median(sizes))

    before = spread(inputs(checkpoint)[name])
    after = spread(inputs(smoothed(checkpoint, Smoothing(checkpoint, TEXTS)))[name])
    assert before > 30
    assert after < 2 * np.sqrt(before)


def test_a_tensor_that_no_factor_touches_stays(checkpoint):
    values = np.ones(64, np.float32)
    assert Smoothing(checkpoint, TEXTS)("norm.weight", values) is values
