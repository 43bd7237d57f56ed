"""A GGUF backbone holds every matrix in exactly the type asked for, within its error, and nothing it need not."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import gguf
import numpy as np
import pytest
from checkpoints import VOCAB, write_checkpoint

from c2llm_lite.bundle import GGUF
from c2llm_lite.convert.calibrate.layers import Calibration
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.convert.targets import gguf as target
from c2llm_lite.convert.targets.token_embeddings import write_token_embeddings
from c2llm_lite.engines.llama_cpp.tensor_names import tensor_names
from c2llm_lite.errors import CheckpointError

# Largest relative error (norm of the difference by norm of the tensor) on Gaussian weights: a uniform grid's expected
# error at the type's bits, with a fifth to spare. fp16 and bf16: half a unit in the last place, at most.
BOUNDS = {
    "f32": 0,
    "f16": 2**-11,
    "bf16": 2**-8,
    "q8_0": 0.008,
    "q6_k": 0.025,
    "q5_k": 0.05,
    "q5_0": 0.055,
    "q4_1": 0.09,
    "q4_k": 0.09,
    "q4_0": 0.11,
    "iq4_nl": 0.09,
    "q3_k": 0.20,
}


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Rows of 256 and 512: every kind fits."""
    folder = write_checkpoint(tmp_path_factory.mktemp("wide"), hidden=256, intermediate=512, layers=1, vocab=VOCAB)
    return open_checkpoint(folder)


@pytest.mark.parametrize("kind", target.KINDS)
def test_every_matrix_is_in_the_kind_asked_for_and_within_its_error(wide, tmp_path, kind):
    types = target.write_backbone(wide, tmp_path, kind)
    written = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / GGUF).tensors}
    for name, gguf_name in tensor_names(wide.backbone.layers):
        tensor, weights = written.pop(gguf_name), wide.tensor(name)
        expected = kind if weights.ndim == 2 else "f32"
        assert (types[name], tensor.tensor_type.name.lower()) == (expected, expected)
        back = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(weights.shape)
        assert np.linalg.norm(back - weights) <= (BOUNDS[expected] + 1e-12) * np.linalg.norm(weights), name
    (table,) = written.values()  # headless: no vocabulary but the stand-in for it
    assert (table.name, list(table.shape)) == ("token_embd.weight", [256, target.VOCAB])


def test_the_file_names_no_token_and_no_pooling(wide, tmp_path):
    target.write_backbone(wide, tmp_path, "q8_0")
    fields = gguf.GGUFReader(tmp_path / GGUF).fields
    assert fields["tokenizer.ggml.model"].contents() == "none"
    assert fields["qwen2.vocab_size"].contents() == target.VOCAB
    assert fields["qwen2.pooling_type"].contents() == gguf.PoolingType.NONE
    assert fields["qwen2.rope.freq_base"].contents() == wide.backbone.rope_theta
    assert not any(name.startswith("tokenizer.ggml.tokens") for name in fields)


def test_kinds_tell_their_true_bits(wide, tmp_path):
    for kind, bits in target.kinds(wide).items():
        types = target.write_backbone(wide, tmp_path, kind)
        tensors = [t for t in gguf.GGUFReader(tmp_path / GGUF).tensors if t.name != "token_embd.weight"]
        assert len(tensors) == len(types)
        assert bits == 8 * sum(t.n_bytes for t in tensors) / sum(t.n_elements for t in tensors)
    assert list(target.kinds(wide)) == [*target.KINDS, *target.RECIPES]


@pytest.mark.parametrize("calibration", [None, Calibration([[1, 2, 3, 4, 5, 6, 7]])])
def test_int5_has_what_is_felt_most_in_8_bits(wide, tmp_path, calibration):
    types = target.write_backbone(wide, tmp_path, "int5", calibration=calibration)
    eight = {name for name, kind in types.items() if kind == "q8_0"}
    layers = wide.backbone.layers
    attention = {f"layers.{layer}.self_attn.{part}_proj.weight" for layer in range(layers) for part in "kvo"}
    assert eight == attention | {f"layers.{layers - 1}.mlp.{part}_proj.weight" for part in ("gate", "up", "down")}
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / GGUF).tensors}
    names = dict(tensor_names(wide.backbone.layers))
    quantize = target.Quantizer()
    for name in eight:
        tensor = found[names[name]]
        assert tensor.tensor_type == gguf.GGMLQuantizationType.Q8_0
        if calibration is None:
            assert tensor.data.tobytes() == quantize(wide.tensor(name), "q8_0").tobytes()
    assert found["blk.0.attn_q.weight"].tensor_type == gguf.GGMLQuantizationType.IQ4_NL


def test_a_width_that_blocks_do_not_divide_is_refused_with_what_fits(tmp_path):
    narrow = open_checkpoint(write_checkpoint(tmp_path / "source", hidden=96, heads=4, intermediate=256, layers=1))
    assert not {kind for kind in target.kinds(narrow) if kind.endswith("_k")}
    with pytest.raises(
        CheckpointError, match=r"gguf:q4_k takes rows of a multiple of 256 .* rows of 96; .*q4_0, iq4_nl"
    ):
        target.write_backbone(narrow, tmp_path, "q4_k")
    odd = open_checkpoint(write_checkpoint(tmp_path / "odd", hidden=64, intermediate=72, layers=1))
    assert list(target.kinds(odd)) == ["f32", "f16", "bf16"]
    with pytest.raises(CheckpointError, match="rows of 72"):
        target.write_backbone(odd, tmp_path, "q8_0")


@pytest.mark.parametrize("kind", ["f16", "q8_0", "q4_0"])
def test_a_weight_beyond_fp16_is_named(tmp_path, kind):
    folder = write_checkpoint(tmp_path / "source", layers=1, dtype="F32")
    _set_first_weight(folder / "model.safetensors", "plm_model.model.layers.0.mlp.up_proj.weight", 1e6)
    checkpoint = open_checkpoint(folder)
    with pytest.raises(CheckpointError, match=r"layers\.0\.mlp\.up_proj\.weight contains 1e\+06, .*gguf:bf16"):
        target.write_backbone(checkpoint, tmp_path, kind)
    target.write_backbone(checkpoint, tmp_path, "bf16")


@pytest.mark.parametrize(("dtype", "stored"), [("BF16", np.uint16), ("F16", np.float16), ("F32", np.float32)])
def test_token_embeddings_are_the_checkpoints_own_bits(tmp_path, dtype, stored):
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "source", layers=1, vocab=5000, dtype=dtype))
    assert write_token_embeddings(checkpoint, tmp_path / "rows.npy") == {"embed_tokens.weight": dtype.lower()}
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r", allow_pickle=False)
    assert rows.dtype == stored
    assert rows.tobytes() == checkpoint.stored("embed_tokens.weight")[0].tobytes()


def test_a_missing_library_is_named_with_its_extra(wide, tmp_path, monkeypatch):
    def without(name: str):
        raise ImportError(name)

    monkeypatch.setattr(target, "import_module", without)
    with pytest.raises(ImportError, match=r"gguf, which is not installed: pip install 'c2llm-lite\[convert\]'"):
        target.write_backbone(wide, tmp_path, "q8_0")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_keeps_its_errno():
    with Path("/dev/full").open("r+b", buffering=0) as file, pytest.raises(OSError) as caught:  # noqa: PT011 - its errno is checked
        target._put(file, 0, np.zeros(4096, np.float32))
    assert caught.value.errno == errno.ENOSPC


def _set_first_weight(path, name: str, value: float) -> None:
    """Overwrite a tensor's first weight in an fp32 safetensors file."""
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[:8], "little")
    start = 8 + length + json.loads(content[8 : 8 + length])[name]["data_offsets"][0]
    content[start : start + 4] = np.float32(value).tobytes()
    path.write_bytes(content)
