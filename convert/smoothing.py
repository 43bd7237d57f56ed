"""An exact rescaling that takes outliers out of activations and puts them into weights, before int8 rounds both.

SmoothQuant (arXiv 2211.10438, equation 4): each column j of a matrix is multiplied, and its inputs are divided, by

    s_j = activations_j^strength / weights_j^(1 - strength)

with weights_j the column's largest weight. Its activations_j is their largest value; here it is the root of their mean
square, which a single token cannot set. The division is folded into what makes the inputs: RMSNorm's gains for q, k, v
and for gate, up; up's rows for down, since silu(gate)·up is linear in up; v's rows for o, where the query heads of a
group share their v. Factors are powers of two, so that 16-bit gains and weights stay exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from c2llm_lite.pma import Array

from . import reference
from .checkpoint import Checkpoint

STRENGTH = 0.5
LEAST = 1e-6  # an input or a column that is never used
# Matrices that read the same inputs, and what makes these.
SHARED_INPUTS = (
    (("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), ("input_layernorm.weight",)),
    (("mlp.gate_proj", "mlp.up_proj"), ("post_attention_layernorm.weight",)),
    (("mlp.down_proj",), ("mlp.up_proj.weight",)),
    (("self_attn.o_proj",), ("self_attn.v_proj.weight", "self_attn.v_proj.bias")),
)


class Smoothing:
    """Factors for every tensor they touch: call it with a tensor's name and its values."""

    def __init__(self, checkpoint: Checkpoint, texts: Sequence[Sequence[int]], strength: float = STRENGTH) -> None:
        """texts: token ids, whose activations in the fp32 reference decide."""
        self._columns: dict[str, Array] = {}  # what a matrix's columns are multiplied by
        self._rows: dict[str, Array] = {}  # what a matrix's rows, a gain or a bias is divided by
        squares: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(1))
        tokens = sum(map(len, texts))

        def observe(name: str, inputs: Array) -> None:
            squares[name] = squares[name] + np.square(inputs, dtype=np.float64).sum(axis=0)

        reference.states(checkpoint, texts, observe=observe)
        shape = checkpoint.backbone
        sharing = shape.heads // shape.kv_heads
        for layer in (f"layers.{number}." for number in range(shape.layers)):
            for readers, makers in SHARED_INPUTS:
                names = [f"{layer}{reader}.weight" for reader in readers]
                activations = np.sqrt(squares[names[0]] / tokens)
                weights = np.max([np.abs(checkpoint.tensor(name)).max(axis=0) for name in names], axis=0)
                if readers == ("self_attn.o_proj",):
                    activations, weights = (_of_groups(x, shape.head_dim, sharing) for x in (activations, weights))
                factors = _factors(activations, weights, strength)
                self._rows |= {f"{layer}{maker}": factors for maker in makers}
                if readers == ("self_attn.o_proj",):
                    factors = np.repeat(factors.reshape(-1, shape.head_dim), sharing, axis=0).reshape(-1)
                self._columns |= dict.fromkeys(names, factors)

    def __call__(self, name: str, values: Array) -> Array:
        """The tensor as it is to be stored: a matrix (rows, width), or a vector (rows,)."""
        if name in self._columns:
            values = values * self._columns[name]
        if name in self._rows:
            rows = self._rows[name]
            values = values / (rows[:, None] if values.ndim == 2 else rows)
        return values


def _factors(activations: NDArray[np.float64], weights: Array, strength: float) -> Array:
    """Powers of two, around 1."""
    large, wide = (np.log2(np.maximum(found, LEAST)) for found in (activations, weights))
    exponents = strength * large - (1 - strength) * wide
    factors: Array = np.exp2(np.rint(exponents - exponents.mean())).astype(np.float32)
    return factors


def _of_groups(values: NDArray[np.float64], head_dim: int, sharing: int) -> NDArray[np.float64]:
    """(heads * head_dim) -> (kv_heads * head_dim): the largest of the query heads that share a value."""
    largest: NDArray[np.float64] = values.reshape(-1, sharing, head_dim).max(axis=1).reshape(-1)
    return largest
