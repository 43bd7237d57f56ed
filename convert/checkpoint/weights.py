"""The part of a checkpoint that converters, the reference and calibration read: a backbone's shape and its tensors.

A checkpoint is one source of weights; others derive from it (calibrate/smoothing.py rescales its tensors,
targets/auto.py cuts it to its first layers).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from c2llm_lite.bundle import Backbone

from .safetensors_file import Dtype, Stored


class Weights(Protocol):
    """Tensors by their tail names (`norm.weight`, `layers.0.mlp.up_proj.weight`), read when asked for."""

    @property
    def backbone(self) -> Backbone:
        """The shape that the tensors have."""

    def names(self) -> list[str]:
        """Every tensor's name; there may be others than the backbone's."""

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, without reading it."""

    def stored(self, name: str) -> tuple[Stored, Dtype]:
        """The values as they are stored, and their type; BF16 as its bits in uint16.

        Raises CheckpointError if a value is NaN or infinite.
        """

    def tensor(self, name: str) -> NDArray[np.float32]:
        """The values in float32. Raises as `stored` does."""


def backbone_names(weights: Weights) -> list[str]:
    """The backbone's tensors, without the token embeddings and a language model's head."""
    return sorted(name for name in weights.names() if name.startswith("layers.") or name == "norm.weight")
