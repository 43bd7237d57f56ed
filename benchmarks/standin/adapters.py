"""The stand-in's backbone with trainable low-rank updates (LoRA, arXiv 2106.09685), written for speed on a CPU.

An update is merged into its weight before each step, in the checkpoint's own bf16: the forward costs what it costs
without updates, and trains through the rounding that the checkpoint will have. The gradients of the two factors are
taken without the weight's: with y = W'x and W' = W + s·B·A, dA = (s·Bᵀ dy) xᵀ and dB = s·dy (A x)ᵀ.

Only the last layers are trained. What runs before them needs no gradient and keeps nothing for the backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any

import torch
from torch.nn import functional as F

from c2llm_lite.convert.standin.updates import MATRICES, SCALE
from c2llm_lite.pma import Array

from .states import rotary

TRAINED_LAYERS = 20  # of 30: the last ones, which a language model spends on the next word
RANK = 14


class LowRank:
    """One matrix and its update: weight (out, in) bf16, frozen; a (rank, in) and b (out, rank), float32."""

    def __init__(self, weight: torch.Tensor) -> None:
        out, inside = weight.shape
        self.weight = weight
        self.a = torch.nn.Parameter(torch.empty(RANK, inside).uniform_(-1, 1) / math.sqrt(inside))
        self.b = torch.nn.Parameter(torch.zeros(out, RANK))
        self._lock = Lock()
        self.merge()

    @torch.no_grad()
    def merge(self) -> None:
        """Take the factors' present values into the weight that the forward uses."""
        self.merged = torch.addmm(self.weight.float(), self.b, self.a, alpha=SCALE).bfloat16()
        self.half_a, self.half_b = self.a.bfloat16(), (SCALE * self.b).bfloat16()

    def add_gradients(self, a: torch.Tensor, b: torch.Tensor) -> None:
        """From several threads, each with texts of its own."""
        with self._lock:
            for factor, gradient in ((self.a, a), (self.b, b)):
                factor.grad = gradient.float() if factor.grad is None else factor.grad.add_(gradient)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, matrix: LowRank) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.matrix = matrix
        return F.linear(x, matrix.merged)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (x,), matrix, (dy,) = ctx.saved_tensors, ctx.matrix, gradients
        matrix.add_gradients((dy @ matrix.half_b).T @ x, SCALE * (dy.T @ (x @ matrix.half_a.T)))
        return dy @ matrix.merged, None


class AdaptedBackbone:
    """A Llama-shaped backbone in bf16 for batches of short texts, differentiable in its updates."""

    def __init__(self, weights: Mapping[str, Array], config: Mapping[str, Any]) -> None:
        """weights: Hugging Face's names from `layers.0.` on, without biases."""

        def half(name: str) -> torch.Tensor:
            return torch.from_numpy(weights[f"{name}.weight"]).bfloat16()

        self.config = config
        self._embeddings, self._norm = half("embed_tokens"), half("norm")
        self._layers: list[dict[str, Any]] = []
        self.updates: dict[str, LowRank] = {}  # by the names of updates.py
        frozen = config["num_hidden_layers"] - TRAINED_LAYERS
        for layer in range(config["num_hidden_layers"]):
            prefix = f"layers.{layer}."
            matrices: dict[str, Any] = {}
            for name, parts in MATRICES.items():
                matrices[name] = torch.cat([half(f"{prefix}{part}") for part in parts])
                if layer >= frozen:
                    matrices[name] = self.updates[f"{prefix}{name}"] = LowRank(matrices[name])
            norms = {"norm0": half(f"{prefix}input_layernorm"), "norm1": half(f"{prefix}post_attention_layernorm")}
            self._layers.append(matrices | norms)

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The factors of all updates."""
        for update in self.updates.values():
            yield from (update.a, update.b)

    def merge(self) -> None:
        """Take all updates' present values into the weights that the forward uses."""
        for update in self.updates.values():
            update.merge()

    def states(self, ids: torch.Tensor) -> torch.Tensor:
        """ids (texts, tokens), padded on the right with anything -> final states (texts, tokens, hidden) bf16.

        Attention is causal, so that what follows a text does not change its states.
        """
        texts, tokens = ids.shape
        x = self._embeddings[ids].flatten(0, 1)  # (texts * tokens, hidden)
        turns = rotary(self.config["rope_theta"], tokens, x.shape[1] // self.config["num_attention_heads"])
        for layer, w in enumerate(self._layers):
            if layer == len(self._layers) - TRAINED_LAYERS and torch.is_grad_enabled():
                x = x.detach().requires_grad_()
            qkv = _product(self._rms(x, w["norm0"]), w["qkv"])
            attended = self._attention(qkv.view(texts, tokens, -1), turns)
            x = x + _product(attended, w["o"])
            gate, up = _product(self._rms(x, w["norm1"]), w["gate_up"]).chunk(2, dim=-1)
            x = x + _product(F.silu(gate) * up, w["down"])
        return self._rms(x, self._norm).view(texts, tokens, -1)

    def _attention(self, qkv: torch.Tensor, turns: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """qkv (texts, tokens, (heads + 2 * kv_heads) * dim) -> (texts * tokens, hidden)."""
        texts, tokens, _ = qkv.shape
        heads, kv_heads = self.config["num_attention_heads"], self.config["num_key_value_heads"]
        cos, sin = turns
        turned, value = qkv.view(texts, tokens, heads + 2 * kv_heads, -1).split([heads + kv_heads, kv_heads], dim=2)
        left, right = turned.chunk(2, dim=-1)
        turned = turned * cos + torch.cat((right, left), dim=-1) * sin
        query, key, value = (part.transpose(1, 2) for part in (turned[:, :, :heads], turned[:, :, heads:], value))
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        return attended.transpose(1, 2).reshape(texts * tokens, -1)

    def _rms(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, weight.shape, weight, self.config["rms_norm_eps"])


def _product(x: torch.Tensor, matrix: torch.Tensor | LowRank) -> torch.Tensor:
    if isinstance(matrix, LowRank):
        found: torch.Tensor = _Linear.apply(x, matrix)  # type: ignore[no-untyped-call]  # torch's
        return found
    return F.linear(x, matrix)
