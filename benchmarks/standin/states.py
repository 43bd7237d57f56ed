"""Computes the final hidden states of many texts on a CPU once and keeps them on disk.

The forward is written out for speed, since the states are nearly all of a training's cost: bf16, queries, keys and
values in one product, gate and up in another, texts batched by length, one process a core. On two cores it was about
twice as fast as transformers' eager Qwen2Model, whose time goes into unfused elementwise steps; a test holds the two
equal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch.nn import functional as F

from c2llm_lite.durable import durable

Half = NDArray[np.float16]
BATCH_TOKENS = 1024  # what lets the intermediate results stay in a core's cache
ROUNDED_GROUP = 32  # weights that share a scale where they are rounded, as in ggml's Q4_0


class Backbone:
    """A C2LLM checkpoint's Qwen2 backbone in bf16, for batches of short texts.

    rounded: with its matrices rounded to 4 bits, so that the difference shows what quantization does to the states.
    """

    def __init__(self, checkpoint: Path, *, rounded: bool = False) -> None:
        self.config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        prefix = "plm_model.model."
        weights = {
            name.removeprefix(prefix): (rounded_weight(tensor) if rounded and is_matrix(name) else tensor).bfloat16()
            for name, tensor in load_file(checkpoint / "model.safetensors").items()
            if name.startswith(prefix)
        }
        self._embeddings = weights["embed_tokens.weight"]
        self._norm = weights["norm.weight"]
        self._layers = []
        for layer in range(self.config["num_hidden_layers"]):
            w = {
                name.removeprefix(f"layers.{layer}."): tensor
                for name, tensor in weights.items()
                if name.startswith(f"layers.{layer}.")
            }
            self._layers.append(
                {
                    "norm0": w["input_layernorm.weight"],
                    "qkv": torch.cat([w[f"self_attn.{x}_proj.weight"] for x in "qkv"]),
                    "qkv_bias": torch.cat([w[f"self_attn.{x}_proj.bias"] for x in "qkv"]),
                    "o": w["self_attn.o_proj.weight"],
                    "norm1": w["post_attention_layernorm.weight"],
                    "gate_up": torch.cat([w["mlp.gate_proj.weight"], w["mlp.up_proj.weight"]]),
                    "down": w["mlp.down_proj.weight"],
                }
            )

    @torch.inference_mode()
    def states(self, ids: torch.Tensor) -> torch.Tensor:
        """ids (texts, tokens), padded on the right with anything -> final states (texts, tokens, hidden) bf16.

        Attention is causal, so that what follows a text does not change its states.
        """
        texts, tokens = ids.shape
        heads, kv_heads = self.config["num_attention_heads"], self.config["num_key_value_heads"]
        x = self._embeddings[ids].flatten(0, 1)  # (texts * tokens, hidden)
        hidden = x.shape[1]
        dim = hidden // heads
        cos, sin = rotary(self.config["rope_theta"], tokens, dim)
        for w in self._layers:
            qkv = F.linear(self._rms(x, w["norm0"]), w["qkv"], w["qkv_bias"])
            qkv = qkv.view(texts, tokens, heads + 2 * kv_heads, dim)
            turned, value = qkv[:, :, : heads + kv_heads], qkv[:, :, heads + kv_heads :]
            left, right = turned.chunk(2, dim=-1)
            turned = torch.addcmul(turned * cos, torch.cat((right, left), dim=-1), sin)
            query, key, value = (
                part.transpose(1, 2) for part in (turned[:, :, :heads], turned[:, :, heads:], value)
            )  # (texts, heads or kv_heads, tokens, dim)
            attended = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
            x = x + F.linear(attended.transpose(1, 2).reshape(-1, hidden), w["o"])
            gate, up = F.linear(self._rms(x, w["norm1"]), w["gate_up"]).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate).mul_(up), w["down"])
        return self._rms(x, self._norm).view(texts, tokens, hidden)

    def _rms(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, weight.shape, weight, self.config["rms_norm_eps"])


def rotary(theta: float, tokens: int, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and signed sines of rotary embedding's angles, each (tokens, 1, dim) bf16 (arXiv 2104.09864)."""
    frequencies = theta ** (-torch.arange(0, dim, 2) / dim)
    angles = torch.outer(torch.arange(tokens), frequencies)  # (tokens, dim / 2)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), 1)[:, None].bfloat16(), torch.cat((-sin, sin), 1)[:, None].bfloat16()


def is_matrix(name: str) -> bool:
    """Whether a layer's matrix: token embeddings stay as they are, and so do norms' gains."""
    return name.endswith("_proj.weight")


def rounded_weight(weight: torch.Tensor) -> torch.Tensor:
    """The matrix rounded to 4 bits, symmetrically, in groups of ROUNDED_GROUP; float32."""
    groups = weight.float().view(-1, ROUNDED_GROUP)
    scales = groups.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / 7  # 4 bits, symmetric: -7 to 7
    return ((groups / scales).round() * scales).view_as(weight)


def write_states(checkpoint: Path, ids: Sequence[Sequence[int]], path: Path, *, rounded: bool = False) -> None:
    """Write the states of all texts to `path`, a .npy of (tokens of all texts, hidden) float16, text after text."""
    ends = np.cumsum([len(text) for text in ids])
    hidden = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))["hidden_size"]
    by_length = list(batches(ids))
    workers = ProcessPoolExecutor(os.cpu_count(), initializer=_start, initargs=(checkpoint, rounded))
    with durable(path) as file, workers as pool:
        shape = (int(ends[-1]), hidden)
        out = np.lib.format.open_memmap(file.name, mode="w+", dtype=np.float16, shape=shape)
        work = pool.map(_run, ([ids[i] for i in batch] for batch in by_length))
        for batch, found in zip(by_length, work, strict=True):
            for i, states in zip(batch, found, strict=True):
                out[ends[i] - len(states) : ends[i]] = states
        out.flush()


def batches(ids: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Texts' indices in batches of near lengths and about BATCH_TOKENS tokens."""
    batch: list[int] = []
    for i in sorted(range(len(ids)), key=lambda i: len(ids[i])):
        if batch and (len(batch) + 1) * len(ids[i]) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


_backbone: Backbone  # of a worker process


def _start(checkpoint: Path, rounded: bool) -> None:
    global _backbone
    torch.set_num_threads(1)
    _backbone = Backbone(checkpoint, rounded=rounded)


def _run(ids: list[list[int]]) -> list[Half]:
    longest = max(map(len, ids))
    padded = torch.tensor([text + [0] * (longest - len(text)) for text in ids])
    states = _backbone.states(padded)
    return [states[row, : len(text)].half().numpy() for row, text in enumerate(ids)]
