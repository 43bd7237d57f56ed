"""A backbone's weights in the shape of a file of K-quants: see engines/llama_cpp/padding.py."""

from __future__ import annotations

import math

import numpy as np

from c2llm_lite.bundle import Backbone
from c2llm_lite.engines.llama_cpp.tensor_names import tensor_shape
from c2llm_lite.pma import Array

from ..checkpoint import Weights
from ..checkpoint.safetensors_file import Dtype, Stored


class Padded:
    """Weights with zeros where `backbone`, the padded shape, has more rows, columns and heads. See Weights."""

    def __init__(self, given: Weights, backbone: Backbone) -> None:
        self.backbone = backbone
        self._given = given
        narrow = given.backbone
        self._gain = math.sqrt(narrow.hidden / backbone.hidden)  # what a norm over longer rows is too large by
        heads = np.arange(backbone.hidden).reshape(narrow.kv_heads, -1, narrow.head_dim)
        self._heads = heads[:, : narrow.heads // narrow.kv_heads].ravel()  # where each head's components are

    def names(self) -> list[str]:
        """See Weights."""
        return self._given.names()

    def shape(self, name: str) -> tuple[int, ...]:
        """See Weights."""
        return tensor_shape(name, self.backbone)

    def stored(self, name: str) -> tuple[Stored, Dtype]:
        """See Weights."""
        return self.tensor(name), "F32"

    def tensor(self, name: str) -> Array:
        """See Weights."""
        found = np.zeros(self.shape(name), np.float32)
        given = self._given.tensor(name)
        rows, *columns = map(np.arange, given.shape)
        if "self_attn.q_proj" in name:
            rows = self._heads
        if "self_attn.o_proj" in name:
            columns = [self._heads]
        found[np.ix_(rows, *columns)] = given * np.float32(self._gain) if name.endswith("norm.weight") else given
        return found
