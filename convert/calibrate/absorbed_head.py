"""The pooling head in absorbed form, differentiable: its gradients by hand, and its way back to a checkpoint's tensors.

The forward is pma.py's, over whole texts whose states lie end to end. All that shapes an embedding is a parameter,
except the residual: the bias of the values, which is added to it, serves for both. Nothing here depends on the number
type, so that a test can compare the gradients with finite differences in fp64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c2llm_lite.pma import LAYER_NORM_EPS, Array, Head

Floats = NDArray[Any]
# queries (heads, hidden), value (heads, d/heads, hidden), value_bias (d,), out (d, d), out_bias (d,), and both norms'
# gains and biases (d,).
Parameters = dict[str, Floats]


def parameters(head: Head) -> Parameters:
    """What is trained: copies."""
    named = {"queries": head.queries, "value": head.value, "value_bias": head.value_bias}
    named |= {"out": head.out[0], "out_bias": head.out[1], "gain0": head.norm0[0], "bias0": head.norm0[1]}
    named |= {"gain1": head.norm1[0], "bias1": head.norm1[1]}
    return {name: np.array(values) for name, values in named.items()}


def stored(tensors: Mapping[str, Array], head: Head, trained: Mapping[str, Floats]) -> dict[str, Array]:
    """A checkpoint's tensors of the head with `trained` in them: the head that reads them embeds as `trained` does.

    tensors: those that `head` was made of, whose seed and query stay. Scores are q_h·(K_h·state) / divisor, so with
    K_h = divisor · q_h u_hᵀ / |q_h|² they are u_h·state.
    """
    heads, per_head, hidden = head.value.shape
    query = head.query.reshape(heads, per_head).astype(np.float64)
    power = np.square(query).sum(axis=1, keepdims=True)
    along = head.divisor * query / np.maximum(power, np.finfo(np.float32).tiny)  # (heads, d/heads)
    key = along[:, :, None] * trained["queries"][:, None]  # (heads, d/heads, hidden)
    found = {
        "mab.fc_k.weight": key.reshape(head.width, hidden),
        "mab.fc_v.weight": trained["value"].reshape(head.width, hidden),
        "mab.fc_v.bias": trained["value_bias"],
        "mab.fc_o.weight": trained["out"],
        "mab.fc_o.bias": trained["out_bias"],
    }
    for number in "01":
        found |= {f"mab.ln{number}.weight": trained[f"gain{number}"], f"mab.ln{number}.bias": trained[f"bias{number}"]}
    return dict(tensors) | {name: values.astype(np.float32) for name, values in found.items()}


class Pass:
    """The head over a batch of texts: `embeddings` (n, d), not normalized, and their gradients in the parameters."""

    def __init__(self, given: Mapping[str, Floats], residual: Floats, texts: Sequence[Array]) -> None:
        """residual: (d,). texts: each one's states, (tokens, hidden)."""
        self._given, self._texts = given, texts
        self._lengths = [len(text) for text in texts]
        self._starts = np.cumsum([0, *self._lengths[:-1]])
        self._states = np.concatenate(texts).astype(given["queries"].dtype, copy=False)  # (tokens, hidden)
        scores = self._states @ given["queries"].T  # (tokens, heads)
        weights = np.exp(scores - self._spread(np.maximum.reduceat(scores, self._starts)))
        self._weights = weights / self._spread(np.add.reduceat(weights, self._starts))
        pooled = [w.T @ h for w, h in self._each(self._weights)]  # (heads, hidden) a text
        self._pooled = np.stack(pooled, axis=1)  # (heads, n, hidden)
        attended = self._pooled @ given["value"].transpose(0, 2, 1)  # (heads, n, d/heads)
        o = attended.transpose(1, 0, 2).reshape(len(texts), -1) + given["value_bias"]
        self._norm0 = _LayerNorm(residual + o)
        self._x = self._norm0.normed * given["gain0"] + given["bias0"]  # (n, d)
        self._forward = self._x @ given["out"].T + given["out_bias"]
        self._norm1 = _LayerNorm(self._x + np.maximum(self._forward, 0))
        self.embeddings: Floats = self._norm1.normed * given["gain1"] + given["bias1"]

    def gradients(self, embeddings: Floats) -> Parameters:
        """Of a loss in every parameter; embeddings: its gradient in them, (n, d)."""
        given, n = self._given, len(self._texts)
        heads, per_head, _ = given["value"].shape
        summed = self._norm1.backward(embeddings * given["gain1"])
        forward = summed * (self._forward > 0)
        x = summed + forward @ given["out"]
        o = self._norm0.backward(x * given["gain0"])
        attended = o.reshape(n, heads, per_head).transpose(1, 0, 2)  # (heads, n, d/heads)
        pooled = (attended @ given["value"]).transpose(1, 2, 0)  # (n, hidden, heads)
        weights = np.concatenate([h @ p for p, (_, h) in zip(pooled, self._each(self._weights), strict=True)])
        mean = np.add.reduceat(self._weights * weights, self._starts)  # (n, heads)
        scores = self._weights * (weights - self._spread(mean))  # (tokens, heads)
        return {
            "queries": scores.T @ self._states,
            "value": attended.transpose(0, 2, 1) @ self._pooled,
            "value_bias": o.sum(axis=0),
            "out": forward.T @ self._x,
            "out_bias": forward.sum(axis=0),
            "gain0": (x * self._norm0.normed).sum(axis=0),
            "bias0": x.sum(axis=0),
            "gain1": (embeddings * self._norm1.normed).sum(axis=0),
            "bias1": embeddings.sum(axis=0),
        }

    def _spread(self, of_texts: Floats) -> Floats:
        """A text's row for each of its tokens."""
        return np.repeat(of_texts, self._lengths, axis=0)

    def _each(self, of_tokens: Floats) -> list[tuple[Floats, Floats]]:
        """Each text's rows, and its states."""
        cuts = self._starts[1:]
        return list(zip(np.split(of_tokens, cuts), np.split(self._states, cuts), strict=True))


class _LayerNorm:
    """Rows brought to mean 0 and variance 1."""

    def __init__(self, x: Floats) -> None:
        centered = x - x.mean(axis=-1, keepdims=True)
        self._scale = np.sqrt(np.square(centered).mean(axis=-1, keepdims=True) + LAYER_NORM_EPS)
        self.normed: Floats = centered / self._scale

    def backward(self, normed: Floats) -> Floats:
        """The gradient in the rows, of that in the normed ones."""
        along = (normed * self.normed).mean(axis=-1, keepdims=True)
        found: Floats = (normed - normed.mean(axis=-1, keepdims=True) - self.normed * along) / self._scale
        return found
