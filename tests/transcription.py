"""The model's formulas in plain PyTorch, as in the papers: the reference that the package is tested against.

It shares no code with the package and takes no short cut: whole score matrices, no absorbed head, no streaming, one
text at a time. Weights are read with safetensors' own PyTorch loader. The arithmetic is in the type of the weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

Weights = Mapping[str, Tensor]


def load_weights(folder: Path, prefix: str = "plm_model.model.") -> dict[str, Tensor]:
    """Every tensor of a checkpoint, float32, by tail name; `prefix` precedes the backbone's."""
    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= {name.removeprefix(prefix): tensor.float() for name, tensor in load_file(path).items()}
    return found


def embed(folder: Path, ids: list[int], residual: str = "query", scale: str = "width") -> Tensor:
    """A checkpoint and one text's token ids -> its embedding (d,), of unit length."""
    weights = load_weights(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    head = {name.removeprefix("mha_pma."): tensor for name, tensor in weights.items()}
    pooled = pma(backbone(weights, config, ids), head, config["pma_num_heads"], residual, scale)
    return pooled / pooled.norm()


def pma(h: Tensor, w: Weights, heads: int, residual: str = "query", scale: str = "width") -> Tensor:
    """arXiv 2512.21332, equations (1) to (6): states (L, hidden) -> embedding (d,), not normalized."""
    seed = w["S"].reshape(1, -1)  # (1, d)
    d = seed.shape[1]
    q = seed @ w["mab.fc_q.weight"].T + w["mab.fc_q.bias"]  # (1, d)
    k = h @ w["mab.fc_k.weight"].T + w["mab.fc_k.bias"]  # (L, d)
    v = h @ w["mab.fc_v.weight"].T + w["mab.fc_v.bias"]  # (L, d)
    divisor = {"width": d**0.5, "head": (d / heads) ** 0.5, "none": 1.0}[scale]
    attended = []
    for q_h, k_h, v_h in zip(q.chunk(heads, 1), k.chunk(heads, 1), v.chunk(heads, 1), strict=True):
        a = torch.softmax(q_h @ k_h.T / divisor, dim=1)  # (1, L)
        attended.append(a @ v_h)  # (1, d / heads)
    o = torch.cat(attended, dim=1)  # (1, d)
    x = layer_norm((q if residual == "query" else seed) + o, w["mab.ln0.weight"], w["mab.ln0.bias"])
    ff = torch.relu(x @ w["mab.fc_o.weight"].T + w["mab.fc_o.bias"])
    return layer_norm(x + ff, w["mab.ln1.weight"], w["mab.ln1.bias"])[0]


def layer_norm(x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    return (x - x.mean(1, keepdim=True)) / torch.sqrt(x.var(1, unbiased=False, keepdim=True) + 1e-5) * gain + bias


def backbone(w: Weights, config: Mapping[str, object], ids: list[int]) -> Tensor:
    """Qwen2's decoder: one text's token ids -> its final hidden states (L, hidden), after the final norm."""
    eps, theta = float(str(config["rms_norm_eps"])), float(str(config["rope_theta"]))
    heads, kv_heads = int(str(config["num_attention_heads"])), int(str(config["num_key_value_heads"]))
    x = w["embed_tokens.weight"][ids]  # (L, hidden)
    for i in range(int(str(config["num_hidden_layers"]))):
        at = f"layers.{i}."
        h = rms_norm(x, w[at + "input_layernorm.weight"], eps)
        q, k, v = (h @ w[f"{at}self_attn.{p}_proj.weight"].T + w[f"{at}self_attn.{p}_proj.bias"] for p in "qkv")
        x = x + attention(q, k, v, heads, kv_heads, theta) @ w[at + "self_attn.o_proj.weight"].T
        h = rms_norm(x, w[at + "post_attention_layernorm.weight"], eps)
        gate = h @ w[at + "mlp.gate_proj.weight"].T  # (L, intermediate)
        up = h @ w[at + "mlp.up_proj.weight"].T  # (L, intermediate)
        x = x + (gate * torch.sigmoid(gate) * up) @ w[at + "mlp.down_proj.weight"].T
    return rms_norm(x, w["norm.weight"], eps)


def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, kv_heads: int, theta: float) -> Tensor:
    """Causal, head by head; query head n uses key head n // (heads / kv_heads)."""
    length, dim = len(q), q.shape[1] // heads
    out = []
    for n in range(heads):
        at = n * kv_heads // heads * dim
        q_n = rope(q[:, n * dim : (n + 1) * dim], theta)  # (L, dim)
        k_n = rope(k[:, at : at + dim], theta)  # (L, dim)
        scores = q_n @ k_n.T / dim**0.5  # (L, L)
        future = torch.ones(length, length).triu(1).bool()
        out.append(torch.softmax(scores.masked_fill(future, -torch.inf), dim=1) @ v[:, at : at + dim])
    return torch.cat(out, dim=1)  # (L, heads × dim)


def rope(x: Tensor, theta: float) -> Tensor:
    """The pair (j, j + dim/2) of the token at position p turns by p / theta^(2j/dim), a complex product."""
    length, dim = x.shape
    exponents = torch.arange(0, dim, 2, dtype=torch.float32) / dim
    angles = torch.arange(length, dtype=torch.float32)[:, None] / theta**exponents  # (L, dim / 2)
    turned = torch.complex(x[:, : dim // 2], x[:, dim // 2 :]) * torch.polar(torch.ones_like(angles), angles).to(
        torch.complex128 if x.dtype == torch.float64 else torch.complex64
    )
    return torch.cat([turned.real, turned.imag], dim=1)


def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    return x / torch.sqrt((x * x).mean(1, keepdim=True) + eps) * gain
