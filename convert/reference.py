"""The full-precision forward pass in NumPy, with which every target is compared.

Qwen2's decoder in fp32, one layer's weights in memory at a time for all texts together, so that the 7B runs where it
would not fit. The arithmetic follows transformers' modeling_qwen2.py, from:

    RMSNorm   arXiv 1910.07467        RoPE     arXiv 2104.09864, in the half-rotated form of GPT-NeoX
    SwiGLU    arXiv 2002.05202        grouped queries  arXiv 2305.13245

Attention is causal, so a text's states depend neither on other texts in the batch nor on padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from c2llm_lite import pma
from c2llm_lite.bundle import Backbone
from c2llm_lite.errors import TextError
from c2llm_lite.pma import Array
from c2llm_lite.vectors import normalize

from .checkpoint import Checkpoint, Weights
from .checkpoint.safetensors_file import widen

Progress = Callable[[int, int], None]  # layers done, layers in all
Observe = Callable[[str, Array], None]  # the name of a matrix, the first of those that share inputs; (tokens, width)

_GROUP = 4096  # tokens through a layer at once: bounds what the feed-forward's activations take
_QUERIES = 256  # queries scored at once: bounds a text's scores to heads × 256 × its length
_LATER = np.triu(np.full((_QUERIES, _QUERIES), -np.inf, np.float32), k=1)  # added to scores of keys after their query


@dataclass
class Largest:
    """The largest absolute values of some texts: what an engine's number types must hold."""

    state: float = 0.0  # between layers
    matrix_input: float = 0.0
    key_or_value: float = 0.0  # of attention, before the rotation

    def note(self, name: str, values: Array) -> None:
        """Take in more values of the field of this name."""
        setattr(self, name, max(getattr(self, name), float(np.abs(values).max(initial=0))))


def states(
    checkpoint: Weights,
    texts: Sequence[Sequence[int]],
    progress: Progress | None = None,
    observe: Observe | None = None,
    largest: Largest | None = None,
) -> list[Array]:
    """Each text's final hidden states, after the final norm: (tokens, hidden) float32.

    observe: shown the inputs of q_proj (also k's and v's), o_proj, gate_proj (also up's) and down_proj of each layer.
    largest: takes in the values on the way.

    Raises TextError for a text without tokens or with one outside the vocabulary, CheckpointError for NaN or infinity
    in a weight.
    """
    shape = checkpoint.backbone
    for index, text in enumerate(texts):
        if not text or not all(0 <= token < shape.vocab for token in text):
            raise TextError(f"text {index} has no tokens, or one outside the vocabulary of {shape.vocab}")
    table, dtype = checkpoint.stored("embed_tokens.weight")
    cuts = list(groups([len(text) for text in texts]))
    hidden = [widen(table[np.concatenate([texts[i] for i in group])], dtype) for group in cuts]  # (tokens, hidden)
    lengths = [[len(texts[i]) for i in group] for group in cuts]
    for number in range(shape.layers):
        layer = Layer(checkpoint, number)
        hidden = [layer(x, cut, observe, largest) for x, cut in zip(hidden, lengths, strict=True)]
        del layer  # before the next one is read: one layer of the 7B takes 0.9 GB in fp32
        if progress:
            progress(number + 1, shape.layers)
    return final_states(checkpoint, hidden, lengths)


def final_states(checkpoint: Weights, hidden: Sequence[Array], lengths: Sequence[list[int]]) -> list[Array]:
    """Each text's states after the final norm, of groups of texts: hidden (tokens, hidden), and its texts' lengths."""
    norm = checkpoint.tensor("norm.weight")
    found: list[Array] = []
    for x, cut in zip(hidden, lengths, strict=True):
        found += np.split(rms_norm(x, norm, checkpoint.backbone.rms_norm_eps), np.cumsum(cut)[:-1])
    return found


def vectors(
    checkpoint: Checkpoint,
    texts: Sequence[Sequence[int]],
    largest: Largest | None = None,
    *,
    head: pma.Head | None = None,
) -> Array:
    """The texts' embeddings (n, d), float32, of unit length. Raises as `states` does.

    head: another than the checkpoint's.
    """
    head = head or pma.Head(checkpoint.head(), checkpoint.variant)
    means = [pma.pool(text, head.queries) for text in states(checkpoint, texts, largest=largest)]
    return normalize(head.embed(np.stack(means)))


def groups(lengths: list[int]) -> Iterator[list[int]]:
    """Neighboring texts' indices, in groups of at most _GROUP tokens; a longer text is alone."""
    group: list[int] = []
    for index, length in enumerate(lengths):
        if group and sum(lengths[i] for i in group) + length > _GROUP:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


class Layer:
    """One decoder layer, its weights read when it is made."""

    def __init__(self, checkpoint: Weights, number: int) -> None:
        def read(name: str) -> Array:
            return checkpoint.tensor(f"{self.name}.{name}")

        self.shape, self.name = checkpoint.backbone, f"layers.{number}"
        self.norm1, self.norm2 = read("input_layernorm.weight"), read("post_attention_layernorm.weight")
        self.q, self.k, self.v = ((read(f"self_attn.{x}_proj.weight"), read(f"self_attn.{x}_proj.bias")) for x in "qkv")
        self.out = read("self_attn.o_proj.weight")
        self.gate, self.up, self.down = (read(f"mlp.{part}_proj.weight") for part in ("gate", "up", "down"))

    def __call__(
        self, x: Array, lengths: list[int], observe: Observe | None = None, largest: Largest | None = None
    ) -> Array:
        """x: several texts' states one after the other; lengths: how many tokens each has."""

        def shown(matrix: str, inputs: Array) -> Array:
            if observe:
                observe(f"{self.name}.{matrix}.weight", inputs)
            if largest:
                largest.note("matrix_input", inputs)
            return inputs

        h = shown("self_attn.q_proj", rms_norm(x, self.norm1, self.shape.rms_norm_eps))  # (tokens, hidden)
        if largest:
            for weights, bias in (self.k, self.v):
                largest.note("key_or_value", h @ weights.T + bias)
        mixed = shown("self_attn.o_proj", mix(h, lengths, (self.q, self.k, self.v), self.shape))
        x = x + mixed @ self.out.T  # (tokens, hidden)
        h = shown("mlp.gate_proj", rms_norm(x, self.norm2, self.shape.rms_norm_eps))
        gated = shown("mlp.down_proj", silu(h @ self.gate.T) * (h @ self.up.T))  # (tokens, intermediate)
        x = x + gated @ self.down.T  # (tokens, hidden)
        if largest:
            largest.note("state", x)
        return x


def mix(x: Array, lengths: list[int], qkv: Sequence[tuple[Array, Array]], shape: Backbone) -> Array:
    """Several texts' attention, (tokens, heads × dim).

    x: their normed states (tokens, hidden), end to end. qkv: the weights and biases of queries, keys and values.
    """
    parts = [np.split(x @ weights.T + bias, np.cumsum(lengths)[:-1]) for weights, bias in qkv]
    return np.concatenate([attention(q, k, v, shape) for q, k, v in zip(*parts, strict=True)])


def attention(q: Array, k: Array, v: Array, shape: Backbone) -> Array:
    """One text's causal attention: q (tokens, heads × dim), k and v (tokens, kv_heads × dim) -> as q."""
    tokens, dim = len(q), shape.head_dim
    sharing = shape.heads // shape.kv_heads  # query heads that share one key and value head
    cos, sin = _rotations(tokens, dim, shape.rope_theta)
    queries = _rotate(q.reshape(tokens, shape.heads, dim), cos, sin) / np.float32(dim**0.5)
    keys = _rotate(k.reshape(tokens, shape.kv_heads, dim), cos, sin).transpose(1, 2, 0)  # (kv_heads, dim, tokens)
    values = v.reshape(tokens, shape.kv_heads, dim).transpose(1, 0, 2)  # (kv_heads, tokens, dim)
    out = np.empty_like(queries)  # (tokens, heads, dim)
    for first in range(0, tokens, _QUERIES):
        end = min(first + _QUERIES, tokens)
        block = queries[first:end].reshape(end - first, shape.kv_heads, sharing, dim).transpose(1, 2, 0, 3)
        scores = block @ keys[:, None, :, :end]  # (kv_heads, sharing, block, keys)
        scores[..., first:] += _LATER[: end - first, : end - first]
        scores -= scores.max(axis=-1, keepdims=True)
        weights = np.exp(scores, out=scores)
        mixed = weights @ values[:, None, :end] / weights.sum(axis=-1, keepdims=True)  # (kv_heads, sharing, block, dim)
        out[first:end] = mixed.transpose(2, 0, 1, 3).reshape(end - first, shape.heads, dim)
    return out.reshape(tokens, shape.hidden)


def _rotations(tokens: int, dim: int, theta: float) -> tuple[Array, Array]:
    """RoPE's cosines and sines (tokens, 1, dim), the second half the first again; angles in fp32, as transformers'."""
    frequencies = np.float32(1) / np.float32(theta) ** (np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim))
    angles = np.arange(tokens, dtype=np.float32)[:, None] * frequencies  # (tokens, dim / 2)
    doubled = np.concatenate([angles, angles], axis=1)[:, None]
    return np.cos(doubled), np.sin(doubled)


def _rotate(x: Array, cos: Array, sin: Array) -> Array:
    low, high = np.split(x, 2, axis=-1)  # (tokens, heads, dim / 2)
    turned: Array = np.concatenate([-high, low], axis=-1)
    return x * cos + turned * sin


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """RMSNorm of x (tokens, hidden), with gains (hidden,)."""
    scale: Array = np.sqrt(np.square(x).mean(axis=-1, keepdims=True, dtype=np.float32) + np.float32(eps))
    return x / scale * weight


def silu(x: Array) -> Array:
    """x · sigmoid(x), elementwise."""
    with np.errstate(over="ignore"):  # exp(-x) may overflow to infinity, and x / infinity is the right answer, 0
        found = np.negative(x)  # each step in place: this is most of what a layer does beside its products
        np.exp(found, out=found)
        found += 1
        np.divide(x, found, out=found)
    return found
