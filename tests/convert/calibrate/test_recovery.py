"""The affine map that corrects quantization: fitted if there is one, and absorbed by the head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from checkpoints import write_checkpoint
from safetensors.numpy import load_file

import c2llm_lite
from c2llm_lite import bundle as bundles
from c2llm_lite.convert import convert, reference
from c2llm_lite.convert.calibrate.recovery import fit
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.pma import Array

HIDDEN = 24


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def test_an_affine_distortion_is_undone() -> None:
    full = [draw(50, HIDDEN, seed=i) for i in range(40)]
    distortion = np.eye(HIDDEN, dtype=np.float32) + 0.1 * draw(HIDDEN, HIDDEN, seed=99)
    quantized = [states @ distortion.T + 0.3 for states in full]
    found = fit(quantized, full)
    unseen = draw(20, HIDDEN, seed=100)
    mended = (unseen @ distortion.T + 0.3) @ found.matrix.T + found.bias
    assert np.abs(mended - unseen).max() < 0.02


def test_what_needs_no_mending_is_left_alone() -> None:
    states = [draw(50, HIDDEN)]
    found = fit(states, states)
    np.testing.assert_array_equal(found.matrix, np.eye(HIDDEN))
    np.testing.assert_array_equal(found.bias, 0)


def test_texts_that_tell_nothing_of_others_move_little() -> None:
    full = [draw(2, HIDDEN, seed=i) for i in range(10)]
    quantized = [states + 0.1 * draw(2, HIDDEN, seed=1000 + i) for i, states in enumerate(full)]
    found = fit(quantized, full)  # 20 tokens say nothing of a map of 576 numbers
    unseen, noise = draw(200, HIDDEN, seed=50), 0.1 * draw(200, HIDDEN, seed=51)
    mended = (unseen + noise) @ found.matrix.T + found.bias
    assert np.square(mended - unseen).sum() < 1.2 * np.square(noise).sum()


def test_a_calibrated_bundle_holds_its_map_and_is_nearer(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "checkpoint", layers=2)
    checkpoint = open_checkpoint(source)
    texts = [f"{name} = {name}_{i}({i % 7}) {sign} x" for i in range(100) for name in "abc" for sign in "+-*"]
    cosines = {}
    for name, calibrate in (("plain", None), ("mended", {"document": texts[::2]})):
        bundle = convert(source, tmp_path / name, "gguf:q4_1", calibrate=calibrate)
        held = load_file(bundle.path(bundles.HEAD))
        assert (bundles.MAP_MATRIX in held) == (bundles.MAP_BIAS in held) == (calibrate is not None)
        with c2llm_lite.load(bundle.folder) as model:
            wanted = reference.vectors(checkpoint, model._tokenizer.encode(texts[1::20]))
            cosines[name] = float((model.embed(texts[1::20]) * wanted).sum(axis=1).mean())
    assert cosines["mended"] > cosines["plain"]
