"""Qwen2's forward pass over flat texts: the whole model between token embeddings and final hidden states.

The arithmetic, its order and its roundings follow transformers' modeling_qwen2.py, and a test holds the two equal.
The layers are written here because transformers' change between releases; none of its releases is then required or
refused. Names of modules and parameters are Hugging Face's, as the bundle's file names its tensors.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional as F

from ...bundle import Backbone

Rotation = tuple[torch.Tensor, torch.Tensor]  # cosines and sines, (tokens, head_dim)


class Qwen2(nn.Module):
    """All layers and the final norm; token embeddings are looked up elsewhere."""

    def __init__(self, shape: Backbone) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(shape.layers))
        self.norm = _Norm(shape)
        self._rope_theta = shape.rope_theta
        self._head_dim = shape.head_dim

    def forward(self, rows: torch.Tensor, positions: torch.Tensor, lengths: list[int]) -> torch.Tensor:
        """Embedding rows (tokens, hidden) of texts of these lengths, end to end -> states (tokens, hidden)."""
        rotation = self._rotation(positions, rows.dtype)
        x = rows
        for layer in self.layers:
            x = layer(x, rotation, lengths)
        states: torch.Tensor = self.norm(x)
        return states

    def _rotation(self, positions: torch.Tensor, dtype: torch.dtype) -> Rotation:
        """RoPE's cosines and sines: angles in fp32, the second half the first again."""
        exponents = torch.arange(0, self._head_dim, 2, dtype=torch.float, device=positions.device) / self._head_dim
        angles = positions[:, None].float() * (1.0 / self._rope_theta**exponents)  # (tokens, head_dim / 2)
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(dtype), angles.sin().to(dtype)


class _Layer(nn.Module):
    def __init__(self, shape: Backbone) -> None:
        super().__init__()
        self.self_attn = _Attention(shape)
        self.mlp = _FeedForward(shape)
        self.input_layernorm = _Norm(shape)
        self.post_attention_layernorm = _Norm(shape)

    def forward(self, x: torch.Tensor, rotation: Rotation, lengths: list[int]) -> torch.Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rotation, lengths)
        out: torch.Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class _Attention(nn.Module):
    def __init__(self, shape: Backbone) -> None:
        super().__init__()
        wide, narrow = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.hidden, wide)
        self.k_proj = nn.Linear(shape.hidden, narrow)
        self.v_proj = nn.Linear(shape.hidden, narrow)
        self.o_proj = nn.Linear(wide, shape.hidden, bias=False)
        self._head_dim = shape.head_dim

    def forward(self, x: torch.Tensor, rotation: Rotation, lengths: list[int]) -> torch.Tensor:
        # each (heads or kv_heads, tokens, head_dim)
        query, key, value = (
            project(x).view(len(x), -1, self._head_dim).transpose(0, 1)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = attend_text_by_text(_rotate(query, rotation), _rotate(key, rotation), value, lengths)
        out: torch.Tensor = self.o_proj(attended.flatten(1))
        return out


class _FeedForward(nn.Module):
    def __init__(self, shape: Backbone) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.down_proj = nn.Linear(shape.intermediate, shape.hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class _Norm(nn.Module):
    """RMSNorm, computed in fp32; the gain is applied after rounding."""

    def __init__(self, shape: Backbone) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape.hidden))
        self._eps = shape.rms_norm_eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self._eps)
        return self.weight * wide.to(x.dtype)


def _rotate(x: torch.Tensor, rotation: Rotation) -> torch.Tensor:
    """RoPE: pairs are a component of the first half and its like of the second."""
    cosines, sines = rotation
    first, second = x.chunk(2, dim=-1)
    return x * cosines + torch.cat((-second, first), dim=-1) * sines


def attend_text_by_text(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: list[int]
) -> torch.Tensor:
    """Causal attention within each text of a row.

    query (heads, tokens, dim), key and value (kv_heads, tokens, dim) -> (tokens, heads, dim). Neighboring texts of one
    length share a call. No mask is made, so memory grows with a text's length and not with its square.
    """
    sharing = len(query) // len(key)
    # Keys and values are repeated for the query heads that share them: on a GPU, PyTorch's only kernel that would do
    # without in fp32 makes the whole square of scores.
    whole = query, key.repeat_interleave(sharing, dim=0), value.repeat_interleave(sharing, dim=0)
    parts = []
    start = 0
    for length, run in itertools.groupby(lengths):
        texts = len(list(run))
        end = start + texts * length
        # each (texts, heads, length, dim)
        q, k, v = (x[:, start:end].reshape(len(x), texts, length, -1).transpose(0, 1) for x in whole)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # scaled by 1 / sqrt(dim)
        parts.append(out.transpose(1, 2).flatten(0, 1))  # (texts × length, heads, dim)
        start = end
    return torch.cat(parts)
