"""The grids that targets store: of a row's block of weights, each is one of a few levels times the block's scale.

Layouts are those of ggml-common.h, block_q4_0, block_iq4_nl and block_q8_0: the scale, then each weight's level; in 4
bits 16 bytes, of which byte i holds weight i in its low and weight i + 16 in its high half.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c2llm_lite.pma import Array

Codes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Grid:
    """levels: float32, ascending, at most 256. block: weights of a row that share a scale."""

    levels: Array
    block: int

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
}


def encode(codes: Codes, scales: NDArray[np.float16], kind: str) -> NDArray[np.uint8]:
    """codes: (rows, width); scales: (rows, width / 32) -> the tensor's bytes, as ggml lays out `kind`."""
    rows, blocks = scales.shape
    stored: NDArray[Any] = codes.reshape(rows, blocks, -1)
    if kind == "q8_0":
        stored = stored - np.uint8(127)  # modulo 256: two's complement
    else:
        low, high = np.split(stored, 2, axis=2)
        stored = low | high << 4
    head = np.ascontiguousarray(scales).view(np.uint8).reshape(rows, blocks, 2)
    return np.concatenate([head, stored], axis=2).reshape(-1)
