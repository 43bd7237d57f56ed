"""Rounding on texts: ggml's own layouts, and less output error than rounding to nearest."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from checkpoints import write_checkpoint
from needed import skip_without

import c2llm_lite
from c2llm_lite.convert import convert, reference
from c2llm_lite.convert.calibrate.gptq import round_matrix
from c2llm_lite.convert.calibrate.grids import GRIDS, encode
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.pma import Array

KINDS = tuple(GRIDS)


def correlated(random: np.random.Generator, tokens: int, width: int) -> Array:
    """Inputs that share directions, some far larger than others, as a language model's do."""
    mixing = random.normal(0, 1, (width, width)) * np.logspace(-2, 0.5, width)[:, None]
    inputs: Array = (random.normal(0, 1, (tokens, width)) @ mixing).astype(np.float32)
    return inputs


def nearest_rounded(weights: Array, kind: str) -> Array:
    """By ggml's rule: each block's scale puts its largest weight on the lowest level."""
    grid = GRIDS[kind]
    blocks = weights.reshape(-1, grid.block)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)
    lowest = grid.levels[0]
    found: Array = (grid.levels[grid.nearest(blocks / largest * lowest)] * largest / lowest).reshape(weights.shape)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_are_ggml_s(kind: str) -> None:
    random, grid = np.random.default_rng(0), GRIDS[kind]
    codes = random.integers(0, len(grid.levels), (5, 3 * grid.block * grid.sharing), dtype=np.uint8)
    scales = grid.storable(random.normal(0, 0.1, (15, grid.sharing)).astype(np.float16)).reshape(5, -1)
    read = gguf.quants.dequantize(encode(codes, scales, kind).reshape(5, -1), gguf.GGMLQuantizationType[kind.upper()])
    np.testing.assert_array_equal(read, grid.decode(codes, scales))


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_err_less_than_with_the_nearest_levels(kind: str) -> None:
    random = np.random.default_rng(1)
    weights = random.normal(0, 1, (48, 256)).astype(np.float32)
    inputs, unseen = np.split(correlated(random, 4000, 256), 2)
    grid = GRIDS[kind]
    rounded = grid.decode(*round_matrix(weights, inputs.T @ inputs, grid))

    def error(found: Array) -> float:
        return float(np.square(unseen @ (found - weights).T).sum())

    assert error(rounded) < 0.5 * error(nearest_rounded(weights, kind))


@pytest.mark.parametrize("kind", KINDS)
def test_odd_matrices_are_rounded_too(kind: str) -> None:
    """Zeros, one large weight, an input that is never there."""
    weights = np.zeros((3, 256), np.float32)
    weights[1, 5] = 1000
    moments = np.eye(256, dtype=np.float32)
    moments[7, 7] = 0
    grid = GRIDS[kind]
    rounded = grid.decode(*round_matrix(weights, moments, grid))
    assert np.isfinite(rounded).all()
    assert rounded[1, 5] == pytest.approx(1000, rel=2e-3)
    np.testing.assert_allclose(rounded[[0, 2]], 0, atol=1e-5)


@pytest.mark.parametrize(
    "target",
    ["gguf:q4_0", "gguf:iq4_nl", "gguf:int5", "gguf:q6_k", "gguf:q8_0", "openvino:int4", "openvino:int8", "bnb:nf4"],
)
def test_a_calibrated_bundle_runs_and_is_nearer(target: str, tmp_path: Path) -> None:
    skip_without(target)
    # q6_k's rows are padded: of each matrix in another way.
    shape = {"hidden": 192, "heads": 6, "intermediate": 400} if target == "gguf:q6_k" else {}
    source = write_checkpoint(tmp_path / "checkpoint", layers=2, **shape)
    checkpoint = open_checkpoint(source)
    texts = [f"def f{i}(x, y):\n    return x + {i} * y" for i in range(60)]
    errors, tensors = {}, []
    for name, calibrate in (("plain", None), ("calibrated", {"document": texts})):
        bundle = convert(source, tmp_path / name, target, calibrate=calibrate)
        tensors.append(bundle.manifest.tensors)
        with c2llm_lite.load(bundle.folder) as model:
            ids = model._tokenizer.encode(texts[:8])
            states = [np.concatenate(list(model.states(text))) for text in texts[:8]]
        wanted = reference.states(checkpoint, ids)
        errors[name] = sum(float(np.square(a - b).sum()) for a, b in zip(states, wanted, strict=True))
    assert errors["calibrated"] < 0.8 * errors["plain"]
    assert tensors[0] == tensors[1]


@pytest.mark.parametrize("target", ["gguf:int4", "openvino:int4", "openvino:int8", "bnb:nf4"])
def test_the_same_texts_in_another_order_give_the_same_bytes(target: str, tmp_path: Path) -> None:
    skip_without(target)
    source = write_checkpoint(tmp_path / "checkpoint")
    texts = [f"def f{i}(x): return x * {i}" for i in range(12)]
    one, two = (
        convert(source, tmp_path / name, target, calibrate={"document": given, "query": ["multiply"]})
        for name, given in (("one", texts), ("two", texts[::-1]))
    )
    assert one.sha256 == two.sha256
