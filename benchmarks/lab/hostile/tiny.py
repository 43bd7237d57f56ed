"""A checkpoint of a few hundred kilobytes in C2LLM's format, and the texts that every case embeds."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from c2llm_lite import pma
from c2llm_lite.convert.checkpoint.safetensors_writer import Tensor, write_safetensors

from ..byte_tokenizer import write_tokenizer

HIDDEN, INTERMEDIATE, LAYERS, HEADS, KV_HEADS, VOCAB = 64, 128, 2, 4, 2, 400
TEXTS = (
    "def read(path):\n    with open(path) as file:\n        return file.read()\n",
    "Retrieved Answer:class Stack:\n    def push(self, item):\n        self.items.append(item)\n",
    "how to reverse a list",
    "größter gemeinsamer Teiler 最大公约数",
)


def write_checkpoint(folder: Path) -> Path:
    """Random weights, the same every time; returns the folder."""
    folder.mkdir(parents=True)
    config = {
        "model_type": "c2llm",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "vocab_size": VOCAB,
        "hidden_act": "silu",
        "max_position_embeddings": 8192,
        "rope_theta": 1e6,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "embedding_method": "pma",
        "inf_seq_length": 2048,
        "compress_dim": HIDDEN,
        "pma_num_heads": 4,
        "pma_ln": True,
        "pma_norm": False,
        "pma_norm_mode": "post_normal",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    (folder / "LICENSE").write_text("Apache License, Version 2.0 (a stand-in for its text)\n", encoding="utf-8")
    write_tokenizer(folder / "tokenizer.json", VOCAB)
    shapes = dict(_shapes())
    tensors = (Tensor(name, "BF16", _draw(name, shape)) for name, shape in shapes.items())
    write_safetensors(folder / "model.safetensors", tensors, len(shapes))
    return folder


def _shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    kv = HIDDEN // HEADS * KV_HEADS
    yield "plm_model.model.embed_tokens.weight", (VOCAB, HIDDEN)
    for layer in range(LAYERS):
        at = f"plm_model.model.layers.{layer}."
        for part, rows in (("q", HIDDEN), ("k", kv), ("v", kv)):
            yield f"{at}self_attn.{part}_proj.weight", (rows, HIDDEN)
            yield f"{at}self_attn.{part}_proj.bias", (rows,)
        yield f"{at}self_attn.o_proj.weight", (HIDDEN, HIDDEN)
        yield f"{at}mlp.gate_proj.weight", (INTERMEDIATE, HIDDEN)
        yield f"{at}mlp.up_proj.weight", (INTERMEDIATE, HIDDEN)
        yield f"{at}mlp.down_proj.weight", (HIDDEN, INTERMEDIATE)
        yield f"{at}input_layernorm.weight", (HIDDEN,)
        yield f"{at}post_attention_layernorm.weight", (HIDDEN,)
    yield "plm_model.model.norm.weight", (HIDDEN,)
    for name in pma.TENSORS:
        matrix = ".fc_" in name and name.endswith("weight")
        yield f"mha_pma.{name}", (1, 1, HIDDEN) if name == "S" else (HIDDEN, HIDDEN) if matrix else (HIDDEN,)


def _draw(name: str, shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """bf16 bits at the scale of trained weights."""
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, dtype=np.float32)
    if name.endswith("bias"):
        values *= 0.1
    elif len(shape) == 1:
        values = 1 + np.float32(0.1) * values
    elif len(shape) == 2 and "embed_tokens" not in name:
        values /= np.float32(shape[-1] ** 0.5)
    return (values.view(np.uint32) >> 16).astype(np.uint16)
