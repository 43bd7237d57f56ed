"""Refused checkpoints and their messages: each differs from a good one in one thing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import bfloat16_bits, write_checkpoint
from safetensors.numpy import load_file, save_file

from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.errors import CheckpointError

Edit = Callable[[Path], object]  # spoils the checkpoint in a folder
BACKBONE = "plm_model.model."
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def config(**fields: Any) -> Edit:
    def edit(folder: Path) -> None:
        known = json.loads((folder / "config.json").read_text()) | fields
        (folder / "config.json").write_text(json.dumps({k: v for k, v in known.items() if v is not ...}))

    return edit


def tensors(change: Callable[[dict[str, Any]], Any]) -> Edit:
    def edit(folder: Path) -> None:
        found = load_file(folder / WEIGHTS)
        change(found)
        save_file(found, folder / WEIGHTS)

    return edit


def header(change: Callable[[dict[str, Any]], Any]) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / WEIGHTS
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        entries = json.loads(data[8 : 8 + length])
        change(entries)
        text = json.dumps(entries).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])

    return edit


def weight_map(change: Callable[[dict[str, Any]], Any]) -> Edit:
    def edit(folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text())
        change(index["weight_map"])
        (folder / INDEX).write_text(json.dumps(index))

    return edit


def remove(name: str) -> Edit:
    return lambda folder: (folder / name).unlink()


def rename(old: str, new: str) -> Edit:
    return lambda folder: shutil.move(folder / old, folder / new)


def content(name: str, data: bytes) -> Edit:
    return lambda folder: (folder / name).write_bytes(data)


def with_header(text: bytes, length: int | None = None) -> Edit:
    return content(WEIGHTS, (len(text) if length is None else length).to_bytes(8, "little") + text)


def cut(name: str, size: int) -> Edit:
    return lambda folder: os.truncate(folder / name, size)


def not_c2llm(found: dict[str, Any]) -> None:
    for name in [name for name in found if name.startswith("mha_pma")]:
        del found[name]


K_BIAS = f"{BACKBONE}layers.1.self_attn.k_proj.bias"
SHARD = "model-00002-of-00002.safetensors"
BAD_CONFIG: dict[str, tuple[Edit, str]] = {
    "no config": (remove("config.json"), r"has no config\.json; copy it"),
    "config is not JSON": (content("config.json", b"{"), r"config\.json is not valid JSON"),
    "config is not text": (content("config.json", b"\xff\xfe"), r"config\.json is not valid JSON"),
    "config is a list": (content("config.json", b"[]"), r"config\.json is not a JSON object"),
    "no hidden_size": (config(hidden_size=...), "hidden_size is None, not an integer"),
    "hidden_size a word": (config(hidden_size="64"), "hidden_size is '64', not an integer"),
    "layers true": (config(num_hidden_layers=True), "num_hidden_layers is True"),
    "2^31 layers": (config(num_hidden_layers=2**31), "num_hidden_layers is 2147483648, not an integer from 1 to"),
    "2^63 layers": (config(num_hidden_layers=2**63), "num_hidden_layers is 9223372036854775808, not an integer"),
    "a million layers": (config(num_hidden_layers=10**6), "num_hidden_layers 1000000, but the weights have 39 tensors"),
    "2^32 positions": (config(max_position_embeddings=2**32), "max_position_embeddings is 4294967296, not an integer"),
    "rope_theta 10^400": (config(rope_theta=10**400), "rope_theta is 1000.*000, not a positive fp32 number"),
    "rope_theta 10^40": (config(rope_theta=1e40), "rope_theta is 1e.40, not a positive fp32 number"),
    "eps 10^-60": (config(rms_norm_eps=1e-60), "rms_norm_eps is 1e-60, not a positive fp32 number"),
    "layer_types a number": (config(layer_types=5), "layer_types is 5; this package runs only a list of full_"),
    "a window of no layers": (
        config(use_sliding_window=True, sliding_window=4096, max_window_layers=None),
        "use_sliding_window is True",
    ),
    "a window of a word": (
        config(use_sliding_window=True, sliding_window=4096, max_window_layers="x"),
        "use_sliding_window is True",
    ),
    "config of 20 MB": (content("config.json", b" " * 20_000_000 + b"{}"), "has over 10,000,000 bytes"),
    "no layers": (config(num_hidden_layers=0), "num_hidden_layers is 0"),
    "eps not a number": (config(rms_norm_eps=float("nan")), "rms_norm_eps is nan, not a positive fp32 number"),
    "heads do not divide": (config(num_attention_heads=5), "hidden_size 64 is not 5 attention heads"),
    "heads of odd width": (config(num_attention_heads=64), "hidden_size 64 is not 64 attention heads of an even"),
    "key heads do not divide": (config(num_key_value_heads=3), "4 is not divisible by num_key_value_heads 3"),
    "another head_dim": (config(head_dim=32), "head_dim is 32; this package runs only"),
    "gelu": (config(hidden_act="gelu"), "hidden_act is 'gelu'; this package runs only silu"),
    "yarn": (config(rope_scaling={"type": "yarn", "factor": 4.0}), "rope_type is 'yarn'"),
    "llama3": (config(rope_parameters={"rope_type": "llama3", "rope_theta": 1e6}), "rope_type is 'llama3'"),
    "rope a word": (config(rope_scaling="linear"), "rope_parameters is 'linear'"),
    "partial rotary": (config(partial_rotary_factor=0.5), "partial_rotary_factor is 0.5"),
    "no rope_theta": (config(rope_theta=...), "rope_theta is missing"),
    "two rope_thetas": (config(rope_parameters={"rope_theta": 10000.0}), "rope_theta has two values"),
    "sliding window": (
        config(use_sliding_window=True, sliding_window=4096, max_window_layers=1),
        "use_sliding_window is True; this package runs only full causal attention",
    ),
    "sliding layer": (config(layer_types=["full_attention", "sliding_attention"]), "use_sliding_window is True"),
    "last token pooling": (config(embedding_method="eos"), "embedding_method is 'eos'; this package runs only pma"),
    "another norm mode": (config(pma_norm_mode="pre_normal"), "pma_norm_mode is 'pre_normal'; .* only post_normal"),
    "normalized by the model": (config(pma_norm=True), "pma_norm is True; this package runs only False"),
    "no LayerNorm": (config(pma_ln=False), "pma_ln is False; this package runs only True"),
    "an inner layer": (config(keep_max_layer=1), "keep_max_layer is 1; this package runs only the last layer, 2"),
    "heads do not cut the head": (config(pma_num_heads=5), "width 64 cannot be split into 5 attention heads"),
    "pma_num_heads a fraction": (config(pma_num_heads=4.0), "pma_num_heads is 4.0, not an integer"),
    "inf_seq_length negative": (config(inf_seq_length=-1), "inf_seq_length is -1"),
    "another compress_dim": (config(compress_dim=32), "the head is 64 wide, but config.json says compress_dim 32"),
}
BAD_FILES: dict[str, tuple[Edit, str]] = {
    "no tokenizer": (remove("tokenizer.json"), r"has no tokenizer\.json; copy it"),
    "no weights": (remove(WEIGHTS), r"has neither model\.safetensors nor"),
    "a pickle": (
        rename(WEIGHTS, "pytorch_model.bin"),
        r"pickles \(pytorch_model\.bin\).*use the same model's saf",
    ),
    "another pickle": (rename(WEIGHTS, "weights.pt"), r"pickles \(weights\.pt\)"),
    "no head": (tensors(not_c2llm), r"is not a C2LLM checkpoint: it has no mha_pma\.\* tensors"),
    "a missing bias": (tensors(lambda t: t.pop(K_BIAS)), r"lacks layers\.1\.self_attn\.k_proj\.bias; download"),
    "a missing seed": (tensors(lambda t: t.pop("mha_pma.S")), r"lacks mha_pma\.S"),
    "fewer layers": (config(num_hidden_layers=3), r"lacks layers\.2\.input_layernorm\.weight, .* and 9 more"),
    "more layers": (
        config(num_hidden_layers=1),
        r"has \S+\.layers\.1\.\S+, .* which C2LLM does not have",
    ),
    "a query norm": (
        tensors(lambda t: t.update({f"{BACKBONE}layers.0.self_attn.q_norm.weight": np.ones(16, np.float32)})),
        r"has plm_model\.model\.layers\.0\.self_attn\.q_norm\.weight, which C2LLM does not have",
    ),
    "a stray tensor": (tensors(lambda t: t.update(extra=np.ones(1, np.float32))), "has extra, which C2LLM"),
    "the same tensor twice": (
        tensors(lambda t: t.update({"model.norm.weight": np.ones(64, np.float32)})),
        r"norm\.weight and \S+norm\.weight are the same tensor twice",
    ),
    "a wrong shape": (config(intermediate_size=64), r"gate_proj\.weight has shape \(128, 64\), .* \(64, 64\)"),
    "a wrong vocabulary": (config(vocab_size=401), r"embed_tokens\.weight has shape \(400, 64\), .* \(401, 64\)"),
    "a wrong lm_head": (
        tensors(lambda t: t.update({"plm_model.lm_head.weight": np.ones((3, 64), np.float32)})),
        r"plm_model\.lm_head\.weight has shape \(3, 64\)",
    ),
    "a wrong head": (
        tensors(lambda t: t.update({"mha_pma.mab.fc_v.weight": np.ones((64, 63), np.float32)})),
        r"fc_v\.weight has shape \(64, 63\), not \(64, 64\)",
    ),
    "a head without axes": (
        tensors(lambda t: t.update({"mha_pma.mab.fc_q.bias": np.ones((), np.float32)})),
        r"fc_q\.bias has shape \(\), not \(64,\)",
    ),
    "stored as int8": (
        tensors(lambda t: t.update({"mha_pma.S": np.ones((1, 1, 64), np.int8)})),
        r"tensor mha_pma\.S is stored as I8; only BF16, F16 and F32",
    ),
    "an empty file": (content(WEIGHTS, b""), "not a complete safetensors file: its header's length"),
    "a header past the end": (with_header(b"{}", length=1000), "its header's length, 1000 bytes, does not fit"),
    "a header too long": (
        with_header(b"{}", length=2**64 - 1),
        "its header's length, 18446744073709551615",
    ),
    "a header that is not JSON": (
        with_header(b"[{"),
        "its header is not valid JSON",
    ),
    "a header that is a list": (
        with_header(b"[]"),
        "header is not a JSON object",
    ),
    "a header too deep": (
        with_header(b"[" * 100_000),
        "its header is not valid JSON",
    ),
    "a name twice": (
        with_header(b'{"a":{},"a":{}}'),
        "its header is not valid JSON .a name occurs twice",
    ),
    "a cut file": (cut(WEIGHTS, 100_000), "its tensors end at byte"),
    "an entry without a shape": (header(lambda h: h["mha_pma.S"].pop("shape")), "entry of tensor mha_pma.S lacks"),
    "an entry that is a list": (header(lambda h: h.update({"mha_pma.S": []})), "entry of tensor mha_pma.S lacks"),
    "a negative shape": (header(lambda h: h["mha_pma.S"].update(shape=[-1, -1, 64])), "are not non-negative integers"),
    "a shape too large": (header(lambda h: h["mha_pma.S"].update(shape=[9, 9, 64])), "does not fill its 256 bytes"),
    "a dtype that is a list": (header(lambda h: h["mha_pma.S"].update(dtype=["F32"])), r"is stored as \['F32'\]; only"),
    "an axis of 2^64": (header(lambda h: h["mha_pma.S"].update(shape=[2**64])), "are not non-negative integers"),
    "a thousand axes": (header(lambda h: h["mha_pma.S"].update(shape=[1] * 1000)), "are not non-negative integers"),
    "a million tensors": (with_header(b" " * 80_000_000), "has a header of 80,000,000 bytes; C2LLM's take about"),
    "30,000 tensors": (
        with_header(json.dumps({str(i): {} for i in range(30_000)}).encode()),
        "holds 30,000 tensors; C2LLM has a few hundred",
    ),
    "one offset": (header(lambda h: h["mha_pma.S"].update(data_offsets=[0])), "are not non-negative integers"),
    "an overlap": (header(lambda h: h["mha_pma.S"].update(data_offsets=[0, 256])), "does not start where"),
}
BAD_SHARDS: dict[str, tuple[Edit, str]] = {
    "a shard missing": (remove(SHARD), rf"lacks {SHARD}, which {INDEX} lists"),
    "a tensor in no shard": (weight_map(lambda m: m.update(extra=SHARD)), "disagree on the file of extra"),
    "a tensor in no index": (weight_map(lambda m: m.pop("mha_pma.S")), "disagree on the file of mha_pma.S"),
    "a tensor elsewhere": (
        weight_map(lambda m: m.update({"mha_pma.S": "model-00001-of-00002.safetensors"})),
        "disagree on the file of mha_pma.S",
    ),
    "a shard outside": (
        weight_map(lambda m: m.update(extra="../x.safetensors")),
        "does not map each tensor to a",
    ),
    "a shard that is a pickle": (
        weight_map(lambda m: m.update(extra="x.bin")),
        "does not map each tensor to a",
    ),
    "a shard that is a number": (weight_map(lambda m: m.update(extra=3)), "does not map each tensor to a"),
    "no weight_map": (content(INDEX, b"{}"), "does not map each tensor to a"),
    "an index that is not JSON": (content(INDEX, b"?"), "is not valid JSON"),
    "weights twice": (content(WEIGHTS, b"?"), r"has both model\.safetensors and"),
}


@pytest.mark.parametrize(("spoil", "told"), (BAD_CONFIG | BAD_FILES).values(), ids=BAD_CONFIG | BAD_FILES)
def test_a_bad_checkpoint_is_refused_by_name(tmp_path: Path, spoil: Edit, told: str) -> None:
    folder = write_checkpoint(tmp_path / "c", dtype="F32")
    open_checkpoint(folder)
    spoil(folder)
    with pytest.raises(CheckpointError, match=told):
        open_checkpoint(folder)


@pytest.mark.parametrize(("spoil", "told"), BAD_SHARDS.values(), ids=BAD_SHARDS)
def test_shards_that_disagree_with_their_index_are_refused(tmp_path: Path, spoil: Edit, told: str) -> None:
    folder = write_checkpoint(tmp_path / "c", shards=2)
    open_checkpoint(folder)
    spoil(folder)
    with pytest.raises(CheckpointError, match=told):
        open_checkpoint(folder)


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_when_read(tmp_path: Path, dtype: Any, value: float) -> None:
    folder = write_checkpoint(tmp_path / "c", dtype=dtype)
    bad = np.float32(value)
    stored = {"BF16": bfloat16_bits(np.array(bad)), "F16": np.float16(bad), "F32": bad}[dtype].tobytes()
    with (folder / WEIGHTS).open("r+b") as file:
        file.seek(-2 * len(stored), os.SEEK_END)
        file.write(stored)
    checkpoint = open_checkpoint(folder)
    checkpoint.tensor("norm.weight")
    for read in (checkpoint.tensor, checkpoint.stored):
        with pytest.raises(CheckpointError, match=r"model\.safetensors: mha_pma\.mab\.ln1\.bias contains .* at \[62\]"):
            read("mha_pma.mab.ln1.bias")
    with pytest.raises(CheckpointError, match="contains NaN or infinity"):
        checkpoint.head()


def test_a_value_that_is_not_finite_is_found_far_into_a_tensor(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "c", hidden=64, vocab=30_000)  # more values than are checked at once
    data = bytearray((folder / WEIGHTS).read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")  # the embeddings come first
    at = start + (29_000 * 64 + 5) * 2
    data[at : at + 2] = (0x7F80).to_bytes(2, "little")
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(CheckpointError, match=r"embed_tokens\.weight contains NaN or infinity, first at \[29000, 5\]"):
        open_checkpoint(folder).stored("embed_tokens.weight")
