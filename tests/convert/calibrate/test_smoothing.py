"""Smoothing changes no state, is exact in 16 bits, and removes the outliers that hurt int8 activations."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoints import write_checkpoint

from c2llm_lite.convert import reference
from c2llm_lite.convert.calibrate.smoothing import SHARED_INPUTS, Smoothed, Smoothing
from c2llm_lite.convert.checkpoint import Checkpoint, backbone_names, open_checkpoint

TEXTS = [list(range(1, 60)), list(range(200, 230)), [7, 7, 9]]
OUTLIER = 3
DOWN = "layers.1.mlp.down_proj.weight"
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
    after = reference.states(smoothed(checkpoint, Smoothing(checkpoint, TEXTS, None)), TEXTS)
    for ours, whole in zip(after, before, strict=True):
        np.testing.assert_allclose(ours, whole, rtol=1e-5, atol=1e-5 * float(np.abs(whole).max()))


def test_every_input_is_divided_by_what_its_matrices_are_multiplied_by(checkpoint):
    before = inputs(checkpoint)
    smoothing = Smoothing(checkpoint, TEXTS, None)
    after = inputs(smoothed(checkpoint, smoothing))
    for readers, _ in SHARED_INPUTS.values():
        name = f"layers.1.{readers[0]}.weight"
        factors = smoothing(name, np.ones(checkpoint.shape(name), np.float32))[0]
        assert len(np.unique(factors)) > 1
        np.testing.assert_allclose(after[name] * factors, before[name], rtol=1e-3, atol=1e-5)


def test_factors_are_powers_of_two(checkpoint):
    smoothing = Smoothing(checkpoint, TEXTS, None)
    for name in ("layers.0.self_attn.q_proj.weight", "layers.0.input_layernorm.weight", "layers.1.mlp.up_proj.weight"):
        mantissas, _ = np.frexp(smoothing(name, np.ones(checkpoint.shape(name), np.float32)))
        assert np.all(mantissas == 0.5)


def test_an_outlier_is_shared_between_activations_and_weights(checkpoint):
    name = "layers.0.self_attn.q_proj.weight"

    def spread(values: np.ndarray) -> float:
        sizes = np.sqrt(np.square(values).mean(axis=0))
        return float(sizes.max() / np.median(sizes))

    before = spread(inputs(checkpoint)[name])
    after = spread(inputs(smoothed(checkpoint, Smoothing(checkpoint, TEXTS, None)))[name])
    assert before > 30
    assert after < 2 * np.sqrt(before)


def test_a_tensor_that_no_factor_touches_stays(checkpoint):
    values = np.ones(64, np.float32)
    assert Smoothing(checkpoint, TEXTS, None)("norm.weight", values) is values


@pytest.mark.parametrize(("dtype", "comes_in"), [("BF16", "BF16"), ("F16", "F32"), ("F32", "F32")])
def test_a_smoothed_checkpoint_is_exact_whatever_it_is_stored_in(tmp_path, dtype, comes_in):
    whole = open_checkpoint(write_checkpoint(tmp_path / dtype, dtype=dtype))
    smoothed, smoothing = Smoothed(whole, TEXTS, 32), Smoothing(whole, TEXTS, 32)
    assert smoothed.shape("norm.weight") == whole.shape("norm.weight")
    assert smoothed.stored("embed_tokens.weight")[1] == dtype
    assert not np.array_equal(smoothed.tensor(DOWN), whole.tensor(DOWN))
    for name in ("layers.0.input_layernorm.weight", DOWN):
        assert smoothed.stored(name)[1] == comes_in
        np.testing.assert_array_equal(smoothed.tensor(name), smoothing(name, whole.tensor(name)))


def test_a_smoothed_checkpoint_is_the_given_one_but_for_its_values(checkpoint_folder):
    whole = open_checkpoint(checkpoint_folder)
    smoothed = Smoothed(whole, TEXTS, 32)
    assert smoothed.backbone == whole.backbone
    assert smoothed.names() == whole.names()
    assert backbone_names(smoothed) == backbone_names(whole)
    for ours, theirs in zip(reference.states(smoothed, TEXTS), reference.states(whole, TEXTS), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * float(np.abs(theirs).max()))
