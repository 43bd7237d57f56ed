"""One pass over calibration texts that rounds a backbone's matrices, each on the inputs that the rounding before it
leaves: what a later matrix meets when the bundle runs is then what it was rounded for.

The forward is the reference's (NumPy, fp32), and one layer's weights are in memory at a time. Every text's states are:
hidden and intermediate widths times all tokens, in fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from c2llm_lite.pma import Array

from .checkpoint import Checkpoint
from .reference import Layer, Progress, attention, groups, in_threads, rms_norm, silu
from .safetensors_file import widen

# (the matrix's name, its weights (rows, width), its inputs' second moments (width, width)) -> the weights as rounded.
Rounding = Callable[[str, Array, Array], Array]


def round_in_order(
    checkpoint: Checkpoint, texts: Sequence[Sequence[int]], rounding: Rounding, progress: Progress | None = None
) -> None:
    """Hand every matrix to `rounding`, first layer first, in the order in which a token meets them.

    texts: token ids. progress: called with layers done and layers in all.
    """
    shape = checkpoint.backbone
    table, dtype = checkpoint.stored("embed_tokens.weight")
    cuts = list(groups([len(text) for text in texts]))
    lengths = [[len(texts[i]) for i in cut] for cut in cuts]
    hidden = [widen(table[np.concatenate([texts[i] for i in cut])], dtype) for cut in cuts]  # (tokens, hidden)
    for number in range(shape.layers):
        layer = Layer(checkpoint, number)

        def rounded(name: str, weights: Array, moments: Array, number: int = number) -> Array:
            return rounding(f"layers.{number}.{name}.weight", weights, moments)

        def mix(x: Array, cut: list[int], qkv: Sequence[tuple[Array, Array]]) -> Array:
            parts = [np.split(x @ weights.T + bias, np.cumsum(cut)[:-1]) for weights, bias in qkv]
            return np.concatenate([attention(q, k, v, shape) for q, k, v in zip(*parts, strict=True)])

        normed = [rms_norm(x, layer.norm1, shape.rms_norm_eps) for x in hidden]
        moments = _moments(normed)
        qkv = [
            (rounded(f"self_attn.{name}_proj", weights, moments), bias)
            for name, (weights, bias) in zip("qkv", (layer.q, layer.k, layer.v), strict=True)
        ]
        mixed = in_threads(partial(mix, qkv=qkv), normed, lengths)
        out = rounded("self_attn.o_proj", layer.out, _moments(mixed))
        for x, m in zip(hidden, mixed, strict=True):
            x += m @ out.T

        normed = [rms_norm(x, layer.norm2, shape.rms_norm_eps) for x in hidden]
        moments = _moments(normed)
        gate, up = rounded("mlp.gate_proj", layer.gate, moments), rounded("mlp.up_proj", layer.up, moments)
        gated = in_threads(lambda x, gate=gate, up=up: silu(x @ gate.T) * (x @ up.T), normed)  # (tokens, intermediate)
        down = rounded("mlp.down_proj", layer.down, _moments(gated))
        for x, g in zip(hidden, gated, strict=True):
            x += g @ down.T
        if progress:
            progress(number + 1, shape.layers)


def _moments(inputs: list[Array]) -> Array:
    """The sum of x·xᵀ over all tokens' inputs: (width, width)."""
    total: Array = np.sum([x.T @ x for x in inputs], axis=0)
    return total
