"""The shape that a backbone has in a file of K-quants, whose blocks are 256 weights of a row: padded with zeros.

C2LLM-0.5B's rows have 896 weights, 1,024 in such a file, which computes the same. Zeros in the stream stay zeros, whole
heads are added to each group that shares keys, and an RMSNorm over the longer rows is the shorter one's with another
epsilon and scaled gains: sqrt(sum / 1024 + eps * 896 / 1024) = sqrt(896 / 1024) * sqrt(sum / 896 + eps).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ...bundle import Backbone
from .block_types import K_BLOCK, TYPES


def stored_shape(backbone: Backbone, kinds: Iterable[str]) -> Backbone:
    """The shape in a file of these types of ggml's: the backbone's own, unless one of them is a K-quant."""
    if not any(kind in TYPES and TYPES[kind].weights == K_BLOCK for kind in kinds):
        return backbone
    sharing = backbone.heads // backbone.kv_heads  # query heads of a group
    while sharing * backbone.kv_heads * backbone.head_dim % K_BLOCK:
        sharing += 1
    heads = sharing * backbone.kv_heads
    hidden = heads * backbone.head_dim
    return replace(
        backbone,
        hidden=hidden,
        intermediate=-(-backbone.intermediate // K_BLOCK) * K_BLOCK,
        heads=heads,
        rms_norm_eps=backbone.rms_norm_eps * backbone.hidden / hidden,
    )
