"""A backbone's weights in the shape of a file of K-quants: see engines/llama_cpp/padding.py."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

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

    def places(self, name: str) -> list[NDArray[np.int64]]:
        """Where the given tensor's rows, and a matrix's columns, are among the padded one's."""
        found: list[NDArray[np.int64]] = [np.arange(size) for size in self._given.shape(name)]
        if "self_attn.q_proj" in name:
            found[0] = self._heads
        if "self_attn.o_proj" in name:
            found[1] = self._heads
        return found

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
        given = self._given.tensor(name)
        return self.widened(name, given * np.float32(self._gain) if name.endswith("norm.weight") else given)

    def widened(self, name: str, given: Array) -> Array:
        """A tensor of the given shape with zeros around it."""
        found = np.zeros(self.shape(name), np.float32)
        found[np.ix_(*self.places(name))] = given
        return found

    def narrowed(self, name: str, padded: Array) -> Array:
        """What widened() took, of a tensor of the padded shape."""
        found: Array = padded[np.ix_(*self.places(name))]
        return found

    def moments(self, name: str, given: Array) -> Array:
        """The second moments (width, width) of a matrix's inputs, with zeros for those that are padding."""
        width, columns = self.shape(name)[1], self.places(name)[1]
        found = np.zeros((width, width), given.dtype)
        found[np.ix_(columns, columns)] = given
        return found
