"""Qwen2's forward pass over flat texts: the whole model between token embeddings and final hidden states.

The arithmetic, its order and its roundings follow transformers' modeling_qwen2.py, and a test holds the two equal.
The layers are written here because transformers' change between releases; none of its releases is then required or
refused. Names of modules and parameters are Hugging Face's, as the bundle's file names its tensors.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from ...bundle import Backbone
from .attention import Attention, in_blocks
from .texts import Texts

Rotation = tuple[torch.Tensor, torch.Tensor]  # cosines and sines, (tokens, 1, head_dim)


class Qwen2(nn.Module):
    """All layers and the final norm; token embeddings are looked up elsewhere."""

    def __init__(self, shape: Backbone, attend: Attention = in_blocks) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = _Norm(shape)
        self._rope_theta = shape.rope_theta
        self._head_dim = shape.head_dim
        self.attend = attend

    def forward(self, rows: torch.Tensor, texts: Texts) -> torch.Tensor:
        """Embedding rows (tokens, hidden) of these texts, end to end -> states (tokens, hidden)."""
        rotation = self._rotation(texts.positions, rows.dtype)
        x = rows
        for layer in self.layers:
            query, key, value = layer.before(x, rotation)
            x = layer.after(x, self.attend(query, key, value, texts))
        states: torch.Tensor = self.norm(x)
        return states

    def _rotation(self, positions: torch.Tensor, dtype: torch.dtype) -> Rotation:
        """RoPE's cosines and sines: angles in fp32, the second half the first again."""
        exponents = torch.arange(0, self._head_dim, 2, dtype=torch.float, device=positions.device) / self._head_dim
        angles = positions[:, None].float() * (1.0 / self._rope_theta**exponents)  # (tokens, head_dim / 2)
        angles = torch.cat((angles, angles), dim=-1)[:, None]
        return angles.cos().to(dtype), angles.sin().to(dtype)


class Layer(nn.Module):
    """What a layer does before and after its attention, which alone looks beyond a token."""

    def __init__(self, shape: Backbone) -> None:
        super().__init__()
        self.self_attn = _Projections(shape)
        self.mlp = _FeedForward(shape)
        self.input_layernorm = _Norm(shape)
        self.post_attention_layernorm = _Norm(shape)

    def before(self, x: torch.Tensor, rotation: Rotation) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """States (tokens, hidden) -> query (tokens, heads, head_dim), key and value (tokens, kv_heads, head_dim)."""
        query, key, value = self.self_attn.split(self.input_layernorm(x))
        return _rotate(query, rotation), _rotate(key, rotation), value

    def after(self, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """States and attended (tokens, heads, head_dim) -> the next layer's states."""
        x = x + self.self_attn.o_proj(attended.flatten(1))
        out: torch.Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class _Projections(nn.Module):
    def __init__(self, shape: Backbone) -> None:
        super().__init__()
        wide, narrow = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.hidden, wide)
        self.k_proj = nn.Linear(shape.hidden, narrow)
        self.v_proj = nn.Linear(shape.hidden, narrow)
        self.o_proj = nn.Linear(wide, shape.hidden, bias=False)
        self._head_dim = shape.head_dim

    def split(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [part(x).unflatten(-1, (-1, self._head_dim)) for part in (self.q_proj, self.k_proj, self.v_proj)]


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
