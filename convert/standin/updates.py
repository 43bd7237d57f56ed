"""Low-rank updates (LoRA, arXiv 2106.09685) of a backbone's matrices: what training changed, small enough to keep.

For each group of matrices that read the same input, such as q, k and v, the file has two factors:

    layers.N.GROUP.a    (rank, in)
    layers.N.GROUP.b    (out of all the group's matrices, rank)

and the matrices, one below the other, become W + SCALE·b·a.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

SCALE = 2.0
MATRICES = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "o": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}


def merge(weights: dict[str, Array], updates: Mapping[str, Array]) -> None:
    """Add the updates to their matrices in place. weights: Hugging Face names from `layers.0.` on, float32.

    Products are taken in float64, so that no BLAS's order of sums shows in the checkpoint.
    """
    for name in sorted(updates):
        if not name.endswith(".a"):
            continue
        place, _, group = name.removesuffix(".a").rpartition(".")
        a, b = (updates[f"{place}.{group}.{factor}"].astype(np.float64) for factor in "ab")
        change = SCALE * (b @ a)  # (out, in)
        start = 0
        for part in MATRICES[group]:
            weight = weights[f"{place}.{part}.weight"]
            weight[:] = weight + change[start : start + len(weight)]
            start += len(weight)
