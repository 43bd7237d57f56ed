"""Causal attention within each text of a pass, in two ways of the same numbers; the head's reduction, likewise by text.

Rows of all texts lie end to end: query (tokens, heads, dim), key and value (tokens, kv_heads, dim); the result is
(tokens, heads, dim), scaled by 1 / sqrt(dim). Neither way makes a square of scores, so memory grows with the tokens.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from .texts import Texts

Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Texts], torch.Tensor]

AMPERE = (8, 0)  # the compute capability from which flash attention runs


def attention_for(device: torch.device, dtype: torch.dtype, head_dim: int) -> Attention:
    """The faster of the ways that this device, type and release of PyTorch have."""
    flash = dtype in (torch.float16, torch.bfloat16) and head_dim % 8 == 0 and head_dim <= 256
    return packed if flash and has_flash(device) and varlen_attn() is not None else in_blocks


def has_flash(device: torch.device) -> bool:
    """Whether PyTorch's flash attention runs on this device."""
    return device.type == "cuda" and bool(torch.version.cuda) and torch.cuda.get_device_capability(device) >= AMPERE


def varlen_attn() -> Callable[..., Any] | None:
    """PyTorch's flash attention over texts end to end; None before release 2.10."""
    try:
        from torch.nn.attention import varlen
    except ImportError:
        return None
    attend: Callable[..., Any] = varlen.varlen_attn
    return attend


def packed(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, texts: Texts) -> torch.Tensor:
    """All texts in one call of flash attention: CUDA, 16 bits."""
    attend = varlen_attn()
    assert attend is not None
    options = _options(attend)
    if "enable_gqa" not in options:
        key, value = _repeated(query, key), _repeated(query, value)
    bounds, longest = texts.bounds, texts.longest
    found: torch.Tensor = attend(query, key, value, bounds, bounds, longest, longest, **options)
    return found


@functools.cache
def _options(attend: Callable[..., Any]) -> dict[str, Any]:
    """The arguments for causal attention and shared keys in this PyTorch release; 2.10 had only `is_causal`."""
    known = inspect.signature(attend).parameters
    causal: dict[str, Any] = {"window_size": (-1, 0)} if "window_size" in known else {"is_causal": True}
    # One split of the keys: a text's numbers then do not depend on the longest text beside it.
    return causal | {name: choice for name, choice in (("enable_gqa", True), ("num_splits", 1)) if name in known}


def in_blocks(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, texts: Texts) -> torch.Tensor:
    """Texts near in length share a call, filled up at their ends, which causal attention never looks at: any device."""
    # Keys and values are repeated for the query heads that share them: on a GPU, PyTorch's only kernel that would do
    # without in fp32 makes the whole square of scores.
    rows = query, _repeated(query, key), _repeated(query, value)
    parts = []
    for run in texts.runs:
        q, k, v = (run.block(x).transpose(1, 2) for x in rows)  # each (texts, heads, longest, dim)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        parts.append(run.rows(attended.transpose(1, 2)))
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _repeated(query: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
    return shared.repeat_interleave(query.shape[1] // shared.shape[1], dim=1)


def pool(states: torch.Tensor, queries: torch.Tensor, texts: Texts) -> torch.Tensor:
    """pma.pool's arithmetic for all texts of a pass.

    states (tokens, hidden), queries (heads, hidden), both fp32 -> (texts, heads, hidden).
    """
    scores = states @ queries.T  # (tokens, heads)
    means = []
    for run in texts.runs:
        score, block = run.block(scores), run.block(states)  # (texts, longest, heads or hidden)
        if run.kept is not None:
            slot = torch.arange(score.shape[1], device=score.device)
            score = score.masked_fill((slot >= run.lengths)[..., None], -torch.inf)
        means.append(torch.softmax(score, dim=1).transpose(1, 2) @ block)
    return torch.cat(means)
