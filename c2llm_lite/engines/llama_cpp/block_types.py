"""ggml's types of weights that a bundle can have, as its manifest names them."""

from __future__ import annotations

from typing import NamedTuple


class BlockType(NamedTuple):
    """number: ggml's. A block of `weights` of a row takes `size` bytes."""

    number: int
    weights: int
    size: int


K_BLOCK = 256  # the weights of a K-quant's block
TYPES = {
    "f32": BlockType(0, 1, 4),
    "f16": BlockType(1, 1, 2),
    "bf16": BlockType(30, 1, 2),
    "q8_0": BlockType(8, 32, 34),
    "q6_k": BlockType(14, K_BLOCK, 210),
    "q5_k": BlockType(13, K_BLOCK, 176),
    "q5_0": BlockType(6, 32, 22),
    "q4_1": BlockType(3, 32, 20),
    "q4_k": BlockType(12, K_BLOCK, 144),
    "q4_0": BlockType(2, 32, 18),
    "iq4_nl": BlockType(20, 32, 18),
    "q3_k": BlockType(11, K_BLOCK, 110),
}
