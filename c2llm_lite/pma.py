"""The pooling head of C2LLM in fp32: pooling by multi-head attention (PMA) with one learnable query.

The formulas are equations (1) to (6) of arXiv 2512.21332. With H the backbone's final hidden states (L, hidden), S the
seed (1, d), h heads of width d/h:

    Q = S·Wq + bq        K = H·Wk + bk        V = H·Wv + bv
    A = softmax(Q_h K_hᵀ / sqrt(d))           per head
    O = concat_h(A_h V_h)
    X = LN0(Q + O)
    E = LN1(X + relu(X·Wo + bo))

They are computed here in absorbed form, which is exact: since there is one query, Q_h K_hᵀ = H·u_h + const with
u_h = Wk_hᵀ q_h, and the softmax drops the constant; since the attention weights sum to 1,
A_h V_h = Wv_h·(A_h H) + bv_h. So a text needs only its softmax-weighted mean state per head, and that reduction
streams (online softmax, arXiv 1805.02867): an engine pools where its states are and hands over (heads, hidden)
numbers a text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Residual = Literal["query", "seed"]
Scale = Literal["width", "head", "none"]

LAYER_NORM_EPS = 1e-5  # torch.nn.LayerNorm's default, which the model uses
# The head's tensors, by the tail of their names in a checkpoint; layouts are torch.nn.Linear's (out, in).
TENSORS = (
    "S",
    *(f"mab.fc_{part}.{kind}" for part in "qkvo" for kind in ("weight", "bias")),
    *(f"mab.ln{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")),
)


@dataclass(frozen=True)
class Variant:
    """Which of the published forms of the head a checkpoint uses.

    heads: number of attention heads. residual: what is added to the attention's output, the projected query (C2LLM's
    PMA_v2) or the raw seed (CodeFuse-CGE, D2LLM). scale: the softmax's divisor, sqrt of the full width (C2LLM), of one
    head's width, or 1.
    """

    heads: int = 32
    residual: Residual = "query"
    scale: Scale = "width"


@dataclass(frozen=True)
class AffineMap:
    """x -> matrix·x + bias over states: brings quantized states back towards full precision.

    matrix: (hidden, hidden); bias: (hidden,).
    """

    matrix: Array
    bias: Array


class Head:
    """The head, ready to run: `queries` go to an engine, `embed` turns the pooled means it returns into vectors.

    variant; hidden; width, d; divisor, of the scores; and in float32, with any map of the states absorbed: query (d,),
    the projected seed; queries (heads, hidden); value (heads, d/heads, hidden) and value_bias (d,); residual (d,); out,
    norm0 and norm1, each weights and biases.
    """

    def __init__(self, tensors: dict[str, Array], variant: Variant, states_map: AffineMap | None = None) -> None:
        """tensors: every name of TENSORS, float32. Raises ValueError if a shape does not fit the others."""
        t = {name: np.asarray(tensors[name], np.float32) for name in TENSORS}
        width, hidden = t["mab.fc_k.weight"].shape
        check_shapes({name: array.shape for name, array in t.items()}, hidden, variant)
        per_head = width // variant.heads
        seed = t["S"].reshape(width)
        query = t["mab.fc_q.weight"] @ seed + t["mab.fc_q.bias"]  # (d,)
        self.divisor: float = {"width": width, "head": per_head, "none": 1}[variant.scale] ** 0.5

        key = t["mab.fc_k.weight"].reshape(variant.heads, per_head, hidden)
        queries = np.einsum("ed,edh->eh", query.reshape(variant.heads, per_head), key) / self.divisor
        value = t["mab.fc_v.weight"].reshape(variant.heads, per_head, hidden)
        value_bias = t["mab.fc_v.bias"].reshape(variant.heads, per_head)
        if states_map is not None:
            # H' = H·Mᵀ + c: the scores' shift is one constant a head, so the softmax drops it too.
            queries = queries @ states_map.matrix
            value_bias = value_bias + value @ states_map.bias
            value = value @ states_map.matrix

        self.variant = variant
        self.hidden = hidden
        self.width = width
        self.queries: Array = np.ascontiguousarray(queries, np.float32)  # (heads, hidden)
        self.value: Array = np.ascontiguousarray(value, np.float32)  # (heads, d/heads, hidden)
        self.value_bias: Array = value_bias.reshape(width).astype(np.float32)
        self.query: Array = query
        self.residual: Array = query if variant.residual == "query" else seed
        self.out = t["mab.fc_o.weight"], t["mab.fc_o.bias"]
        self.norm0 = t["mab.ln0.weight"], t["mab.ln0.bias"]
        self.norm1 = t["mab.ln1.weight"], t["mab.ln1.bias"]

    def embed(self, pooled: Array) -> Array:
        """Pooled means (n, heads, hidden) -> embeddings (n, d), float32, not normalized (the model does not either)."""
        attended = np.einsum("neh,edh->ned", pooled, self.value, optimize=True)  # (n, heads, d/heads)
        o = attended.reshape(len(pooled), self.width) + self.value_bias
        x = _layer_norm(self.residual + o, *self.norm0)
        weight, bias = self.out
        e: Array = _layer_norm(x + np.maximum(x @ weight.T + bias, 0), *self.norm1)
        return e


def check_shapes(shapes: dict[str, tuple[int, ...]], hidden: int, variant: Variant) -> None:
    """Raise ValueError, naming a tensor, unless `shapes` (keys: TENSORS) make a head over states of width `hidden`."""
    # One wrong tensor should be named, not the others beside it: the width is what most of the vectors have.
    sizes = [math.prod(shapes[name]) for name in TENSORS if ".fc_" not in name or name.endswith("bias")]
    width = max(sizes, key=sizes.count)
    for name in TENSORS:
        wanted: tuple[int, ...]
        if name == "S":
            wanted = (1, 1, width)
        elif name in ("mab.fc_k.weight", "mab.fc_v.weight"):
            wanted = (width, hidden)
        elif ".fc_" in name and name.endswith("weight"):
            wanted = (width, width)
        else:
            wanted = (width,)
        if shapes[name] != wanted:
            raise ValueError(f"the head's {name} has shape {shapes[name]}, not {wanted}")
    if variant.heads < 1 or width < 1 or width % variant.heads:
        raise ValueError(f"a head of width {width} cannot be split into {variant.heads} attention heads")


class PooledSum:
    """One text's softmax-weighted sum of states per head, taken chunk by chunk: running maximum, weight and sum.

    `add` takes states in any cut; `mean` gives the (heads, hidden) means. It holds 2 + hidden numbers a head, whatever
    the text's length.
    """

    def __init__(self, queries: Array) -> None:
        self._queries = queries  # (heads, hidden)
        heads = len(queries)
        self._max: Array = np.full(heads, -np.inf, np.float32)
        self._weight: Array = np.zeros(heads, np.float32)
        self._sum: Array = np.zeros(queries.shape, np.float32)

    def add(self, states: Array) -> None:
        """states: (tokens, hidden) float32, at least one token."""
        scores = self._queries @ states.T  # (heads, tokens)
        top = scores.max(axis=1)
        weights = np.exp(scores - top[:, None])
        highest = np.maximum(self._max, top)
        ours, theirs = np.exp(self._max - highest), np.exp(top - highest)
        self._weight = self._weight * ours + weights.sum(axis=1) * theirs
        self._sum = self._sum * ours[:, None] + (weights @ states) * theirs[:, None]
        self._max = highest

    def copy(self) -> PooledSum:
        """An independent copy."""
        twin = PooledSum(self._queries)
        twin._max, twin._weight, twin._sum = self._max.copy(), self._weight.copy(), self._sum.copy()
        return twin

    def mean(self) -> Array:
        """(heads, hidden). Raises ValueError if no state was added."""
        if not self._weight.all():
            raise ValueError("a text without tokens has no mean hidden state")
        return self._sum / self._weight[:, None]


def pool(states: Array, queries: Array) -> Array:
    """The whole reduction at once: states (tokens, hidden), queries (heads, hidden) -> means (heads, hidden)."""
    total = PooledSum(queries)
    total.add(states)
    return total.mean()


def pool_parts(
    parts: Iterable[tuple[int, Array]], texts: int, queries: Array, prefix: PooledSum | None = None
) -> Array:
    """Means (texts, heads, hidden) of texts whose states come in parts: a text's index with its next (tokens, hidden).

    queries: (heads, hidden). prefix: the sum over leading tokens that all the texts share, which `parts` leaves out.
    """
    sums = [PooledSum(queries) if prefix is None else prefix.copy() for _ in range(texts)]
    for text, states in parts:
        sums[text].add(states)
    return np.stack([total.mean() for total in sums])


def _layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    centered = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centered).mean(axis=-1, keepdims=True)
    normed: Array = centered / np.sqrt(variance + LAYER_NORM_EPS) * weight + bias
    return normed
