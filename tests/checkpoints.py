"""Small random checkpoints in C2LLM's own format, so that tests meet what a converter meets, without weights or torch.

Tensors are drawn and written one at a time, each from its own seed: a checkpoint of any size needs the memory of its
largest tensor alone.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.normalizers import NFC
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from tokenizers.trainers import BpeTrainer

from c2llm_lite import pma

Dtype = Literal["BF16", "F16", "F32"]
VOCAB = 400
_BYTES: dict[Dtype, int] = {"BF16": 2, "F16": 2, "F32": 4}
# Qwen2's own cut into words: a sign before letters joins them, so that "Retrieved Answer:" + "def" meets in ":def".
QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CORPUS = (
    "Retrieved Answer:def read(path):\n    with open(path) as file:\n        return file.read()\n",
    "Retrieved Answer:class Stack:\n    def push(self, item):\n        self.items.append(item)\n",
    "Retrieve the code that solves the following query:\nhow to read a file in python\n",
    "Retrieved Answer:import os\nfor name in os.listdir('.'):\n    print(name)\n",
)


def write_checkpoint(
    folder: Path,
    *,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 4,
    kv_heads: int = 2,
    intermediate: int = 128,
    vocab: int = VOCAB,
    pma_heads: int = 4,
    width: int | None = None,
    tied: bool = True,
    shards: int = 1,
    dtype: Dtype = "BF16",
    prefix: str = "plm_model.model.",
    seed: int = 0,
    **config: object,
) -> Path:
    """Write a valid checkpoint of this shape into `folder` (made if need be) and return the folder.

    width: the head's, the hidden width by default. prefix: of the backbone's names. config: fields of
    config.json to set or replace; the value ... leaves a field out. The tokenizer has VOCAB tokens; `vocab` is the
    number of embedding rows, at least as many.
    """
    width = width or hidden
    shapes = _backbone_shapes(prefix, hidden, layers, hidden // heads * kv_heads, intermediate, vocab)
    if not tied:
        shapes[f"{prefix.removesuffix('model.')}lm_head.weight"] = (vocab, hidden)
    shapes |= {f"mha_pma.{name}": shape for name, shape in head_shapes(hidden, width).items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    (folder / "LICENSE").write_text("Apache License, Version 2.0 (a stand-in for its text)\n", encoding="utf-8")
    (folder / "NOTICE").write_text("Random weights, made for tests.\n", encoding="utf-8")
    fields: dict[str, object] = {
        "architectures": ["C2LLMForEmbedding"],
        "model_type": "c2llm",
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocab,
        "hidden_act": "silu",
        "max_position_embeddings": 8192,
        "rope_theta": 1000000.0,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": tied,
        "use_sliding_window": False,
        "embedding_method": "pma",
        "inf_seq_length": 2048,
        "padding_side": "left",
        "compress_dim": width,
        "pma_num_heads": pma_heads,
        "pma_ln": True,
        "pma_norm": False,
        "pma_norm_mode": "post_normal",
    } | config
    kept = {name: value for name, value in fields.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(kept, indent=2), encoding="utf-8")

    names = list(shapes)
    cuts = [names[len(names) * i // shards : len(names) * (i + 1) // shards] for i in range(shards)]
    files = [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
    if shards == 1:
        files = ["model.safetensors"]
    for file, cut in zip(files, cuts, strict=True):
        tensors = ((name, _draw(name, shapes[name], [seed, names.index(name)])) for name in cut)
        write_safetensors(folder / file, {name: shapes[name] for name in cut}, tensors, dtype)
    if shards > 1:
        weight_map = {name: file for file, cut in zip(files, cuts, strict=True) for name in cut}
        size = sum(map(_elements, shapes.values())) * _BYTES[dtype]
        index = {"metadata": {"total_size": size}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def write_safetensors(
    path: Path, shapes: dict[str, tuple[int, ...]], tensors: Iterator[tuple[str, NDArray[np.float32]]], dtype: Dtype
) -> None:
    """Write one file, tensor by tensor: `tensors` yields each name of `shapes` with its values, in that order."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + _elements(shape) * _BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    head = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for _, values in tensors:
            file.write(_stored(values, dtype).tobytes())


def bfloat16_bits(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """float32 -> bfloat16's bits, rounded to nearest, ties to even."""
    bits = values.view(np.uint32)
    rounded: NDArray[np.uint16] = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return rounded


@functools.cache
def tokenizer_json() -> str:
    """A byte-level BPE tokenizer of VOCAB tokens that cuts words as Qwen2's does and adds no special token."""
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = NFC()
    tokenizer.pre_tokenizer = Sequence(
        [Split(Regex(QWEN2_WORDS), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = ByteLevelDecoder()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = BpeTrainer(
        vocab_size=VOCAB, initial_alphabet=ByteLevel.alphabet(), special_tokens=special, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS * 4, trainer)
    return tokenizer.to_str()


def _backbone_shapes(
    prefix: str, hidden: int, layers: int, kv: int, intermediate: int, vocab: int
) -> dict[str, tuple[int, ...]]:
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (hidden,),
        "self_attn.q_proj.weight": (hidden, hidden),
        "self_attn.q_proj.bias": (hidden,),
        "self_attn.k_proj.weight": (kv, hidden),
        "self_attn.k_proj.bias": (kv,),
        "self_attn.v_proj.weight": (kv, hidden),
        "self_attn.v_proj.bias": (kv,),
        "self_attn.o_proj.weight": (hidden, hidden),
        "post_attention_layernorm.weight": (hidden,),
        "mlp.gate_proj.weight": (intermediate, hidden),
        "mlp.up_proj.weight": (intermediate, hidden),
        "mlp.down_proj.weight": (hidden, intermediate),
    }
    shapes: dict[str, tuple[int, ...]] = {f"{prefix}embed_tokens.weight": (vocab, hidden)}
    for i in range(layers):
        shapes |= {f"{prefix}layers.{i}.{name}": shape for name, shape in layer.items()}
    return shapes | {f"{prefix}norm.weight": (hidden,)}


def head_shapes(hidden: int, width: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a head of this width over states of width `hidden`, by the names of pma.TENSORS."""
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(pma.TENSORS, (width,))
    shapes |= {"S": (1, 1, width), "mab.fc_q.weight": (width, width), "mab.fc_o.weight": (width, width)}
    return shapes | {"mab.fc_k.weight": (width, hidden), "mab.fc_v.weight": (width, hidden)}


def draw_head(hidden: int, width: int, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """A random head in fp32, by the names of pma.TENSORS."""
    shapes = head_shapes(hidden, width)
    return {name: _draw(name, shape, [seed, i]) for i, (name, shape) in enumerate(shapes.items())}


def _draw(name: str, shape: tuple[int, ...], seed: list[int]) -> NDArray[np.float32]:
    """Values at the scale of trained ones: products keep the variance, gains stand around 1, attention is not flat."""
    values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    if name == "S" or name.endswith("mha_pma.S"):
        return 3 * values
    if name.endswith("bias"):
        return np.float32(0.1) * values
    if len(shape) == 1:
        return 1 + np.float32(0.1) * values
    if name.endswith("embed_tokens.weight"):
        return values
    return values / np.float32(shape[-1] ** 0.5)


def _stored(values: NDArray[np.float32], dtype: Dtype) -> NDArray[np.generic]:
    if dtype == "BF16":
        return bfloat16_bits(values)
    return values.astype(np.float16 if dtype == "F16" else np.float32)


def _elements(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
