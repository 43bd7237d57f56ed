"""Smoothing: an exact rescaling that moves outliers from activations to weights before both are rounded to int8.

SmoothQuant (arXiv 2211.10438, equation 4): each column j of a matrix is multiplied, and its inputs are divided, by

    s_j = activations_j^strength / weights_j^(1 - strength)

with weights_j the column's largest weight. Its activations_j is their largest value; here it is the root of their mean
square, which a single token cannot set. The paper has one strength for a model; here each group of matrices that share
inputs gets the one that leaves the smallest error in their products. The division is folded into what makes the inputs:
RMSNorm's gains for q, k, v and for gate, up; up's rows for down, since silu(gate)·up is linear in up; v's rows for o,
where the query heads of a group share their v. (A row's own scale takes up what its row is divided by.) Factors are
powers of two, so that 16-bit gains and weights stay exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from c2llm_lite.bundle import Backbone
from c2llm_lite.pma import Array
from c2llm_lite.progress import bar

from .. import reference
from ..checkpoint import Weights
from ..checkpoint.safetensors_file import Dtype, Stored, bf16_bits, widen
from .texts import evenly

STRENGTHS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
TOKENS = 2048  # that decide
JUDGING = 128  # tokens whose products are rounded to choose a strength
LEVELS = 127  # of int8, to each side
LEAST = 1e-6  # an input or a column that is never used
# Matrices that read the same inputs, and what makes these.
SHARED_INPUTS = {
    "self_attn.q_proj": (("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), ("input_layernorm.weight",)),
    "self_attn.o_proj": (("self_attn.o_proj",), ("self_attn.v_proj.weight", "self_attn.v_proj.bias")),
    "mlp.gate_proj": (("mlp.gate_proj", "mlp.up_proj"), ("post_attention_layernorm.weight",)),
    "mlp.down_proj": (("mlp.down_proj",), ("mlp.up_proj.weight",)),
}


class Smoothed:
    """Weights with the backbone's tensors rescaled: the states are the same. See Weights."""

    def __init__(
        self, given: Weights, texts: Sequence[Sequence[int]], group: int | None, *, progress: bool = False
    ) -> None:
        """As Smoothing's; the texts run when the first value is asked for."""
        self.backbone = given.backbone
        self._given, self._texts, self._group, self._progress = given, texts, group, progress

    @cached_property
    def _smoothing(self) -> Smoothing:
        return Smoothing(self._given, self._texts, self._group, progress=self._progress)

    def names(self) -> list[str]:
        """See Weights."""
        return self._given.names()

    def shape(self, name: str) -> tuple[int, ...]:
        """See Weights."""
        return self._given.shape(name)

    def stored(self, name: str) -> tuple[Stored, Dtype]:
        """In bf16 where the given weights are, which is exact, otherwise in fp32. Raises as theirs does."""
        values, dtype = self._given.stored(name)
        if not self._smoothing.touches(name):
            return values, dtype
        rescaled = self._smoothing(name, widen(values, dtype))
        return (bf16_bits(rescaled), dtype) if dtype == "BF16" else (rescaled, "F32")

    def tensor(self, name: str) -> Array:
        """See Weights."""
        return widen(*self.stored(name))


class Smoothing:
    """Factors for every tensor they touch: call it with a tensor's name and its values."""

    def __init__(
        self, checkpoint: Weights, texts: Sequence[Sequence[int]], group: int | None, *, progress: bool = False
    ) -> None:
        """Choose the factors.

        texts: token ids, whose activations in the fp32 reference decide. group: how many of a token's activations share
        a scale; None if all do. progress: show a bar.
        """
        self._checkpoint, self._group = checkpoint, group
        self._columns: dict[str, Array] = {}  # what a matrix's columns are multiplied by
        self._rows: dict[str, Array] = {}  # what a matrix's rows, a gain or a bias is divided by
        with bar("smoothing", checkpoint.backbone.layers, "layers", show=progress) as advance:
            reference.states(checkpoint, evenly(texts, TOKENS), lambda done, of: advance(1), self._choose)

    def __call__(self, name: str, values: Array) -> Array:
        """The tensor as it is to be stored: a matrix (rows, width), or a vector (rows,)."""
        if name in self._columns:
            values = values * self._columns[name]
        if name in self._rows:
            rows = self._rows[name]
            values = values / (rows[:, None] if values.ndim == 2 else rows)
        return values

    def touches(self, name: str) -> bool:
        """Whether the tensor of this name is rescaled."""
        return name in self._columns or name in self._rows

    def _choose(self, name: str, inputs: Array) -> None:
        """Factors for the matrices that read `inputs` (tokens, width), and for what makes these."""
        _, number, part, matrix, _ = name.split(".")
        layer, first = f"layers.{number}", f"{part}.{matrix}"
        readers, makers = SHARED_INPUTS[first]
        names = [f"{layer}.{reader}.weight" for reader in readers]
        matrices = [self._checkpoint.tensor(reader) for reader in names]
        judging = inputs[:: max(1, len(inputs) // JUDGING)]
        shared = self._checkpoint.backbone if first == "self_attn.o_proj" else None
        tried = list(_candidates(inputs, matrices, shared))
        products = [judging @ matrix.T for matrix in matrices]
        columns = min(tried, key=lambda factors: _error(judging, matrices, products, factors, self._group))
        self._columns |= dict.fromkeys(names, columns)
        rows = columns if shared is None else _one_of_a_group(columns, shared)
        self._rows |= {f"{layer}.{maker}": rows for maker in makers}


def _candidates(inputs: Array, matrices: Sequence[Array], shared: Backbone | None) -> Iterator[Array]:
    """Factors (width,) of each strength: powers of two around 1. shared: one factor for heads that share a value."""
    large = np.log2(np.maximum(np.sqrt(np.square(inputs, dtype=np.float64).mean(axis=0)), LEAST))
    wide = np.log2(np.maximum(np.max([np.abs(matrix).max(axis=0) for matrix in matrices], axis=0), LEAST))
    for strength in STRENGTHS:
        exponents = strength * large - (1 - strength) * wide
        if shared is not None:
            groups = exponents.reshape(shared.kv_heads, -1, shared.head_dim)
            exponents = np.broadcast_to(groups.mean(axis=1, keepdims=True), groups.shape).reshape(-1)
        factors: Array = np.exp2(np.rint(exponents - exponents.mean())).astype(np.float32)
        yield factors


def _one_of_a_group(columns: Array, shared: Backbone) -> Array:
    """(heads * head_dim) -> (kv_heads * head_dim)."""
    return columns.reshape(shared.kv_heads, -1, shared.head_dim)[:, 0].reshape(-1)


def _error(
    inputs: Array, matrices: Sequence[Array], products: Sequence[Array], factors: Array, group: int | None
) -> float:
    """Of the products as int8 gives them: squared error over energy, over the matrices."""
    rounded = _rounded(inputs / factors, group)
    errors = 0.0
    for matrix, product in zip(matrices, products, strict=True):
        difference = rounded @ _rounded(matrix * factors, None).T - product
        errors += float(np.square(difference).sum() / max(float(np.square(product).sum()), LEAST))
    return errors


def _rounded(values: Array, group: int | None) -> Array:
    """(rows, width) to int8's levels, with a scale a row, or for each `group` of a row's values."""
    grouped = values.reshape(len(values), -1, group or values.shape[1])
    step = np.maximum(np.abs(grouped).max(axis=2, keepdims=True), LEAST) / np.float32(LEVELS)
    found: Array = (np.rint(grouped / step) * step).reshape(values.shape)
    return found
