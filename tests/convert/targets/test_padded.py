"""A backbone padded for K-quants computes the same states, and its file says which shape it has."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoints import write_checkpoint

from c2llm_lite import load
from c2llm_lite.bundle import GGUF
from c2llm_lite.convert import convert, reference
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.convert.targets.padded import Padded
from c2llm_lite.engines.llama_cpp.gguf_header import read_header
from c2llm_lite.engines.llama_cpp.padding import stored_shape

SHAPES = [
    {"hidden": 192, "heads": 6, "kv_heads": 2, "intermediate": 400},  # as the stand-in: three heads become four
    {"hidden": 448, "heads": 7, "kv_heads": 1, "intermediate": 600},  # as C2LLM-0.5B: one head more for each key's
    {"hidden": 256, "heads": 4, "kv_heads": 4, "intermediate": 400},  # the feed-forward alone
]


@pytest.fixture(params=SHAPES, ids=lambda shape: str(shape["hidden"]))
def checkpoint(request, tmp_path):
    # An epsilon that a norm feels: a forgotten scale would show.
    return open_checkpoint(write_checkpoint(tmp_path / "source", layers=2, rms_norm_eps=0.1, **request.param))


def test_the_padded_layers_compute_the_same(checkpoint):
    given, shape = checkpoint.backbone, stored_shape(checkpoint.backbone, ["q6_k"])
    weights = Padded(checkpoint, shape)
    assert (shape.hidden % 256, shape.intermediate % 256) == (0, 0)
    assert (shape.head_dim, shape.kv_heads) == (given.head_dim, given.kv_heads)
    x = np.random.default_rng(0).standard_normal((9, given.hidden), np.float32)
    wide = np.pad(x, ((0, 0), (0, shape.hidden - given.hidden)))
    for number in range(given.layers):
        x = reference.Layer(checkpoint, number)(x, [4, 5])
        wide = reference.Layer(weights, number)(wide, [4, 5])
        assert not wide[:, given.hidden :].any()
        np.testing.assert_allclose(wide[:, : given.hidden], x, rtol=0, atol=2e-5 * np.abs(x).max())


def test_a_bundle_of_a_k_quant_embeds_as_full_precision_does(checkpoint, tmp_path):
    texts = ["def add(a, b):\n    return a + b", "how to read a file"]
    found = {}
    for kind in ("f32", "q6_k"):
        made = convert(checkpoint.folder, tmp_path / kind, f"gguf:{kind}")
        with load(made.folder, check=True) as model:
            found[kind] = model.embed(texts)
    assert (found["f32"] * found["q6_k"]).sum(axis=1).min() > 0.999
    values = read_header(tmp_path / "q6_k" / GGUF).values
    assert values["qwen2.embedding_length"] == stored_shape(checkpoint.backbone, ["q6_k"]).hidden


def test_other_types_keep_the_shape(checkpoint):
    assert stored_shape(checkpoint.backbone, ["f32", "q8_0", "iq4_nl"]) == checkpoint.backbone
