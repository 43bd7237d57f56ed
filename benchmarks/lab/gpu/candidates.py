"""Ways to attend and to fuse that the product may take up once a card has shown what they are worth."""

from __future__ import annotations

import functools
from typing import Any

import torch

from c2llm_lite.engines.torch import attention
from c2llm_lite.engines.torch.attention import Attention
from c2llm_lite.engines.torch.qwen2 import Layer, Qwen2
from c2llm_lite.engines.torch.texts import Texts


def attentions(device: torch.device, states: torch.dtype, head_dim: int) -> dict[str, Attention]:
    """By name, all that run here: "blocks" runs everywhere."""
    found: dict[str, Attention] = {"blocks": attention.in_blocks}
    if attention.attention_for(device, states, head_dim) is attention.packed:
        found["packed"] = attention.packed
    found["flex"] = flex
    return found


def flex(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, texts: Texts) -> torch.Tensor:
    """FlexAttention over all texts at once, under a mask of texts; compiled, since uncompiled it makes the square."""
    heads_first = [x.transpose(0, 1)[None] for x in (query, key, value)]
    found: torch.Tensor = _compiled_flex()(*heads_first, block_mask=_mask(texts), enable_gqa=True)
    return found[0].transpose(0, 1)


@functools.cache
def _compiled_flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)


@functools.lru_cache(maxsize=1)  # one pass's, for all its layers
def _mask(texts: Texts) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    lengths = texts.bounds.diff()
    owner = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)

    def same_text_not_later(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return (owner[query] == owner[key]) & (query >= key)

    return create_block_mask(same_text_not_later, None, None, len(owner), len(owner), device=str(owner.device))


def fuse(model: Qwen2) -> None:
    """torch.compile what a layer does before and after attention: norms, rotation and SwiGLU become part of a kernel.

    One compilation serves all layers and all lengths. Needs Triton and a C compiler where it runs.
    """
    before, after = (torch.compile(part, dynamic=True) for part in (Layer.before, Layer.after))
    for layer in model.layers:
        layer.before = functools.partial(before, layer)
        layer.after = functools.partial(after, layer)
