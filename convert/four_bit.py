"""ggml's plain 4-bit blocks: 32 weights of a row, each one of 16 levels times the block's fp16 scale.

Layouts are those of ggml-common.h, block_q4_0 and block_iq4_nl: the scale, then 16 bytes, of which byte i holds weight
i in its low and weight i + 16 in its high half.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from c2llm_lite.pma import Array

BLOCK = 32
LEVELS = {
    "q4_0": np.arange(-8, 8, dtype=np.float32),
    # Not uniform: finer where weights are many. From the table kvalues_iq4nl of ggml-common.h.
    "iq4_nl": np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], dtype=np.float32),
}
Codes = NDArray[np.uint8]
Scales = NDArray[np.float16]


def nearest(values: Array, levels: Array) -> Codes:
    """The index of the nearest level to each value; `levels` ascend."""
    codes: Codes = np.searchsorted((levels[1:] + levels[:-1]) / 2, values).astype(np.uint8)
    return codes


def encode(codes: Codes, scales: Scales) -> NDArray[np.uint8]:
    """codes: (rows, width), 0 to 15; scales: (rows, width / 32) -> the tensor's bytes."""
    rows, width = codes.shape
    low, high = np.split(codes.reshape(rows, width // BLOCK, BLOCK), 2, axis=2)
    head = np.ascontiguousarray(scales).view(np.uint8).reshape(rows, width // BLOCK, 2)
    return np.concatenate([head, low | high << 4], axis=2).reshape(-1)


def decode(codes: Codes, scales: Scales, kind: str) -> Array:
    """The weights (rows, width) that ggml computes with."""
    spread = np.repeat(scales.astype(np.float32), BLOCK, axis=1)
    weights: Array = LEVELS[kind][codes] * spread
    return weights
