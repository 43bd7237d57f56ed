"""The grids that targets store: of a row's block of weights, each is one of a few levels times the block's scale.

Layouts are those of ggml-common.h. block_q4_0, block_iq4_nl and block_q8_0: the scale, then each weight's level; in 4
bits 16 bytes, of which byte i holds weight i in its low and weight i + 16 in its high half. block_q6_K: 256 weights, of
which sixteen share a scale, a multiple of a step; see _encode_q6_k.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c2llm_lite.pma import Array

Codes = NDArray[np.uint8]
MULTIPLES = 127
SMALLEST = np.float16(6e-8)  # above 0, of fp16


@dataclass(frozen=True, eq=False)
class Grid:
    """levels: float32, ascending, at most 256. block: weights of a row that share a scale.

    sharing: blocks whose scales are multiples, -127 to 127, of one fp16 step; 1 where each has its own fp16 scale.
    """

    levels: Array
    block: int
    sharing: int = 1

    def nearest(self, values: Array) -> Codes:
        """The index of the nearest level to each value, the lower of two as near."""
        if self._steps_of_one:
            found: Codes = np.clip(np.ceil(values - self.levels[0] - 0.5), 0, len(self.levels) - 1).astype(np.uint8)
            return found
        codes: Codes = np.zeros(values.shape, np.uint8)
        for border in (self.levels[1:] + self.levels[:-1]) / 2:  # 8 times as fast as np.searchsorted
            codes += values > border
        return codes

    @cached_property
    def _steps_of_one(self) -> bool:
        return bool((np.diff(self.levels) == 1).all())

    def storable(self, scales: NDArray[np.float16]) -> NDArray[np.float16] | Array:
        """The nearest scales (rows, sharing) that can be stored together; some may be 0."""
        if self.sharing == 1:
            return scales
        wide = scales.astype(np.float32)
        step = _steps(wide)
        multiples: Array = np.clip(np.rint(wide / step), -MULTIPLES, MULTIPLES) * step
        return multiples

    def decode(self, codes: Codes, scales: NDArray[np.float16] | Array) -> Array:
        """codes: (rows, width); scales: (rows, width / block) -> the weights that an engine computes with."""
        weights: Array = self.levels[codes] * np.repeat(scales.astype(np.float32), self.block, axis=1)
        return weights


GRIDS = {
    "q4_0": Grid(np.arange(-8, 8, dtype=np.float32), 32),
    # Not uniform: finer where weights are many. From the table kvalues_iq4nl of ggml-common.h.
    "iq4_nl": Grid(
        np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], dtype=np.float32), 32
    ),
    "q8_0": Grid(np.arange(-127, 128, dtype=np.float32), 32),
    "q6_k": Grid(np.arange(-32, 32, dtype=np.float32), 16, sharing=16),
}


def _steps(scales: Array) -> Array:
    """The step (rows, 1), an fp16 number, of which scales (rows, sharing) are multiples; the largest is 127 of it."""
    step = (np.abs(scales).max(axis=1, keepdims=True) / MULTIPLES).astype(np.float16)
    found: Array = np.maximum(step, SMALLEST).astype(np.float32)
    return found


def encode(codes: Codes, scales: NDArray[np.float16] | Array, kind: str) -> NDArray[np.uint8]:
    """codes: (rows, width); scales: (rows, width / block) -> the tensor's bytes, as ggml lays out `kind`."""
    if kind == "q6_k":
        return _encode_q6_k(codes, np.asarray(scales, np.float32))
    rows, blocks = scales.shape
    stored: NDArray[Any] = codes.reshape(rows, blocks, -1)
    if kind == "q8_0":
        stored = stored - np.uint8(127)  # modulo 256: two's complement
    else:
        low, high = np.split(stored, 2, axis=2)
        stored = low | high << 4
    head = np.ascontiguousarray(scales).view(np.uint8).reshape(rows, blocks, 2)
    return np.concatenate([head, stored], axis=2).reshape(-1)


def _encode_q6_k(codes: Codes, scales: Array) -> NDArray[np.uint8]:
    """Of 256 weights: 4 low bits each, 2 high bits each, the scales' sixteen multiples in int8, the step in fp16.

    In each half of 128, byte i of 64 has the low bits of weights i and i + 64; byte i of 32 has the high bits of
    weights i, i + 32, i + 64 and i + 96.
    """
    sharing = GRIDS["q6_k"].sharing
    together = scales.reshape(-1, sharing)
    step = _steps(together)
    multiples = np.rint(together / step).astype(np.int8).view(np.uint8)
    quarters = codes.reshape(-1, 2, 4, 32)
    low, high = quarters & 15, quarters >> 4
    lows = low[:, :, :2] | low[:, :, 2:] << 4
    highs = high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6
    parts = (lows, highs, multiples, step.astype(np.float16).view(np.uint8))
    return np.concatenate([part.reshape(len(together), -1) for part in parts], axis=1).reshape(-1)
