"""Checkpoints of C2LLM's shapes with random weights: for speed and memory, never for accuracy.

python -m c2llm_lite.benchmarks.lab.random_checkpoint FOLDER 0.5B|7B
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from c2llm_lite import pma
from c2llm_lite.bundle import Backbone
from c2llm_lite.convert.checkpoint.safetensors_writer import Tensor, write_safetensors

from .nf4_memory import C2LLM_7B

# Qwen2.5-Coder-0.5B's shape, that of codefuse-ai/C2LLM-0.5B.
C2LLM_05B = Backbone(
    hidden=896,
    intermediate=4864,
    layers=24,
    heads=14,
    kv_heads=2,
    vocab=151936,
    rope_theta=1e6,
    rms_norm_eps=1e-6,
    max_positions=32768,
    tied=True,
)
SHAPES = {"0.5B": C2LLM_05B, "7B": C2LLM_7B}
LAYERS_A_SHARD = 4
BLOCK = np.random.default_rng(0).standard_normal(1 << 20, dtype=np.float32)


def write_checkpoint(folder: Path, shape: Backbone) -> None:
    """A checkpoint of random bf16 weights in C2LLM's names, one tensor in memory at a time."""
    hidden = shape.hidden
    config = {
        "model_type": "c2llm",
        "hidden_size": hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "vocab_size": shape.vocab,
        "max_position_embeddings": shape.max_positions,
        "rope_theta": shape.rope_theta,
        "rms_norm_eps": shape.rms_norm_eps,
        "tie_word_embeddings": shape.tied,
        "compress_dim": hidden,
        "pma_num_heads": 32,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    letters = {letter: number for number, letter in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Tokenizer(BPE(letters, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    weight_map: dict[str, str] = {}
    for number, shapes in enumerate(_shards(shape), start=1):
        file = f"model-{number:05}.safetensors"
        tensors = (Tensor(name, "BF16", _draw(size)) for name, size in shapes.items())
        write_safetensors(folder / file, tensors, len(shapes))
        weight_map |= dict.fromkeys(shapes, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")


def _shards(shape: Backbone) -> Iterator[dict[str, tuple[int, ...]]]:
    """The shapes of each shard's tensors, by the names the checkpoint gives them."""
    hidden, kv, table = shape.hidden, shape.kv_heads * shape.head_dim, (shape.vocab, shape.hidden)
    rows = {"self_attn.q_proj": hidden, "self_attn.k_proj": kv, "self_attn.v_proj": kv}
    layer: dict[str, tuple[int, ...]] = {f"{name}.weight": (count, hidden) for name, count in rows.items()}
    layer |= {f"{name}.bias": (count,) for name, count in rows.items()}
    layer |= {"self_attn.o_proj.weight": (hidden, hidden), "mlp.down_proj.weight": (hidden, shape.intermediate)}
    layer |= {f"mlp.{part}_proj.weight": (shape.intermediate, hidden) for part in ("gate", "up")}
    layer |= {f"{place}_layernorm.weight": (hidden,) for place in ("input", "post_attention")}
    yield {"plm_model.model.embed_tokens.weight": table}
    for first in range(0, shape.layers, LAYERS_A_SHARD):
        numbers = range(first, min(first + LAYERS_A_SHARD, shape.layers))
        yield {f"plm_model.model.layers.{i}.{name}": size for i in numbers for name, size in layer.items()}
    last: dict[str, tuple[int, ...]] = {"plm_model.model.norm.weight": (hidden,)}
    if not shape.tied:
        last["plm_model.lm_head.weight"] = table
    matrices = [name for name in pma.TENSORS if ".fc_" in name and name.endswith("weight")]
    head: dict[str, tuple[int, ...]] = dict.fromkeys(pma.TENSORS, (hidden,))
    head |= {"S": (1, 1, hidden)} | dict.fromkeys(matrices, (hidden, hidden))
    yield last | {f"mha_pma.{name}": size for name, size in head.items()}


def _draw(shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """bf16 bits at the scale of trained weights: one random block over and over, in place of minutes of drawing."""
    values = BLOCK / np.float32(shape[-1] ** 0.5) if len(shape) == 2 else 1 + np.float32(0.1) * BLOCK
    return np.resize((values.view(np.uint32) >> 16).astype(np.uint16), shape)


def main(folder: Path, shape: Annotated[str, typer.Argument(metavar="|".join(SHAPES))]) -> None:
    """Write a checkpoint of this shape into the new FOLDER."""
    if shape not in SHAPES:
        raise typer.BadParameter(f"{shape}: not one of {', '.join(SHAPES)}")
    folder.mkdir(parents=True)
    write_checkpoint(folder, SHAPES[shape])


if __name__ == "__main__":
    typer.run(main)
