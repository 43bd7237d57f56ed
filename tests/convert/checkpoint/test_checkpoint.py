"""An open checkpoint's content, from a folder or by a hub name; bad ones are in test_bad_checkpoints.py."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import transcription
from checkpoints import bfloat16_bits, write_checkpoint
from safetensors.numpy import load_file, save_file

from c2llm_lite import pma
from c2llm_lite.convert.checkpoint import hub, open_checkpoint
from c2llm_lite.convert.checkpoint.safetensors_file import widen
from c2llm_lite.errors import CheckpointError, MissingDependencyError

BACKBONE = "plm_model.model."


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize(("tied", "shards", "prefix"), [(True, 1, BACKBONE), (False, 3, "model."), (False, 1, "")])
def test_reads_every_tensor(tmp_path: Path, dtype: Any, tied: bool, shards: int, prefix: str) -> None:
    folder = write_checkpoint(tmp_path / "c", dtype=dtype, tied=tied, shards=shards, prefix=prefix, width=32)
    checkpoint = open_checkpoint(folder)
    wanted = transcription.load_weights(folder, prefix)
    if not tied:
        wanted["lm_head.weight"] = wanted.pop(f"{prefix.removesuffix('model.')}lm_head.weight")
    assert set(checkpoint.names()) == set(wanted)
    for name, tensor in wanted.items():
        found = checkpoint.tensor(name)
        assert (found.dtype, found.shape) == (np.float32, checkpoint.shape(name))
        np.testing.assert_array_equal(found, tensor.numpy())
        stored, told = checkpoint.stored(name)
        assert (told, stored.dtype.name) == (dtype, {"BF16": "uint16", "F16": "float16", "F32": "float32"}[dtype])
        np.testing.assert_array_equal(widen(stored, told), tensor.numpy())
    assert list(checkpoint.head()) == list(pma.TENSORS)
    assert checkpoint.backbone.tied == tied


def test_bfloat16_is_kept_bit_for_bit(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "c"))
    stored, _ = checkpoint.stored("layers.1.mlp.down_proj.weight")
    np.testing.assert_array_equal(bfloat16_bits(checkpoint.tensor("layers.1.mlp.down_proj.weight")), stored)


def test_what_it_says_of_itself(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "my-c2llm", hidden=96, heads=6, kv_heads=3, layers=3))
    assert (checkpoint.name, checkpoint.revision, checkpoint.max_tokens) == ("my-c2llm", None, 2048)
    assert checkpoint.variant == pma.Variant(4, "query", "width")
    shape = checkpoint.backbone
    assert (shape.hidden, shape.layers, shape.heads, shape.kv_heads, shape.head_dim) == (96, 3, 6, 3, 16)
    assert (shape.rope_theta, shape.rms_norm_eps, shape.max_positions) == (1e6, 1e-6, 8192)
    assert checkpoint.tokenizer_file.name == "tokenizer.json"
    assert [path.name for path in checkpoint.license_files] == ["LICENSE", "NOTICE"]


LINEAGE = ("embedding_method", "inf_seq_length", "padding_side", "compress_dim", "pma_num_heads", "pma_ln", "pma_norm")


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (dict.fromkeys((*LINEAGE, "pma_norm_mode"), ...), {"heads": 32, "max_tokens": 2048}),
        (dict.fromkeys(LINEAGE), {"heads": 32, "max_tokens": 2048}),
        ({"inf_seq_length": 512}, {"max_tokens": 512}),
        ({"inf_seq_length": 4096, "max_position_embeddings": 1024}, {"max_tokens": 1024}),
        ({"inf_seq_length": ..., "max_position_embeddings": 1024}, {"max_tokens": 1024}),
        ({"rope_theta": ..., "rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, {"rope_theta": 5e5}),
        ({"rope_theta": 10000, "rope_scaling": None}, {"rope_theta": 10000.0}),
        ({"rope_theta": 5e5, "rope_scaling": {"rope_type": "default"}}, {"rope_theta": 5e5}),
        ({"tie_word_embeddings": ...}, {"tied": True}),
        ({"keep_max_layer": 2}, {"heads": 4}),
        ({"keep_max_layer": -1}, {"heads": 4}),
        ({"head_dim": 16}, {"heads": 4}),
        ({"sliding_window": 4096, "use_sliding_window": False, "max_window_layers": 0}, {"heads": 4}),
        ({"sliding_window": 4096, "use_sliding_window": True, "max_window_layers": 2}, {"heads": 4}),
        ({"layer_types": ["full_attention"] * 2}, {"heads": 4}),
    ],
)
def test_fields_that_may_be_missing_or_written_otherwise(
    tmp_path: Path, config: dict[str, Any], found: dict[str, object]
) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "c", **config))
    known = vars(checkpoint.backbone) | {"heads": checkpoint.variant.heads, "max_tokens": checkpoint.max_tokens}
    assert {name: known[name] for name in found} == found


def test_key_heads_default_to_the_heads(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "c", heads=4, kv_heads=4, num_key_value_heads=...)
    assert open_checkpoint(folder).backbone.kv_heads == 4


def test_sha256_is_of_the_configuration_and_the_weights(tmp_path: Path) -> None:
    first = open_checkpoint(write_checkpoint(tmp_path / "a", shards=2)).sha256
    assert first == open_checkpoint(write_checkpoint(tmp_path / "b", shards=2)).sha256
    (tmp_path / "b" / "README.md").write_text("another file changes nothing")
    assert first == open_checkpoint(tmp_path / "b").sha256
    assert first != open_checkpoint(write_checkpoint(tmp_path / "c", shards=2, seed=1)).sha256
    assert first != open_checkpoint(write_checkpoint(tmp_path / "d", shards=2, rope_theta=1e5)).sha256


def test_the_weights_are_hashed_once(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "a"))
    first = checkpoint.sha256
    (tmp_path / "a" / "model.safetensors").unlink()
    assert checkpoint.sha256 == first


@pytest.mark.parametrize("name", ["layers.0.self_attn.rotary_emb.inv_freq", "rotary_emb.inv_freq"])
def test_rotary_buffers_are_ignored(tmp_path: Path, name: str) -> None:
    folder = write_checkpoint(tmp_path / "c", dtype="F32")
    path = folder / "model.safetensors"
    save_file(load_file(path) | {BACKBONE + name: np.ones(8, np.float32)}, path)
    assert not any("inv_freq" in known for known in open_checkpoint(folder).names())


def test_a_source_that_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is neither a folder nor a model name"):
        open_checkpoint(tmp_path / "absent")


def test_a_hub_name_is_fetched_without_code_or_pickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = write_checkpoint(tmp_path / "f08c18be")
    asked: dict[str, Any] = {}

    def fetch(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    monkeypatch.chdir(tmp_path)
    checkpoint = open_checkpoint("codefuse-ai/C2LLM-0.5B")
    assert (checkpoint.name, checkpoint.revision) == ("codefuse-ai/C2LLM-0.5B", "f08c18be")
    assert asked == {"name": "codefuse-ai/C2LLM-0.5B", "allow_patterns": list(hub.FILES)}
    assert not any(pattern.endswith((".py", ".bin", ".pt")) or pattern == "*" for pattern in hub.FILES)


def test_a_hub_name_offline_says_what_to_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"copy config\.json, .*co/owner/absent/tree.*pass that folder"):
        open_checkpoint("owner/absent")


def test_a_hub_name_without_the_hub_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "huggingface_hub":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=r"pip install 'c2llm-lite\[convert\]'"):
        open_checkpoint("owner/absent")
