"""Moving a backbone's weights off the grid of a quantized file, by an exact rescaling that changes no state.

Weights read from a Q4_1 file are exactly what Q4_1 can hold, block by block along a row. Factors that differ from
column to column leave no block on its grid; every factor has its inverse elsewhere, so the backbone computes what it
did.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

SPREAD = 0.1  # of the factors' logarithm: enough to leave the grid, too little to change the weights' distribution


def move_off_grid(weights: dict[str, Array], heads: int, kv_heads: int, seed: int = 0) -> None:
    """Rescale a Llama-shaped backbone in place, by factors exp(N(0, 0.1)) that cancel.

    weights: Hugging Face names from `layers.0.` on, float32, without biases. Each RMSNorm gives factors to the columns
    of the matrices that read it (q, k, v; gate, up); rows of up and columns of down trade factors, since silu(gate)·up
    is linear in up; so do rows of v and columns of o, where the query heads of a group share their v.
    """
    random = np.random.default_rng(seed)

    def factors(count: int) -> Array:
        return np.exp(random.normal(0, SPREAD, count)).astype(np.float32)

    for layer in range(sum(name.endswith("input_layernorm.weight") for name in weights)):
        q, k, v, o = (weights[f"layers.{layer}.self_attn.{part}_proj.weight"] for part in "qkvo")
        gate, up, down = (weights[f"layers.{layer}.mlp.{part}_proj.weight"] for part in ("gate", "up", "down"))
        for norm, readers in (("input_layernorm", (q, k, v)), ("post_attention_layernorm", (gate, up))):
            gains = weights[f"layers.{layer}.{norm}.weight"]
            taken = factors(len(gains))  # (hidden,)
            gains /= taken
            for reader in readers:
                reader *= taken
        taken = factors(len(up))  # (intermediate,)
        up /= taken[:, None]
        down *= taken
        taken = factors(len(v))  # (kv_heads * head_dim,)
        v /= taken[:, None]
        o *= np.repeat(taken.reshape(kv_heads, -1), heads // kv_heads, axis=0).reshape(-1)
