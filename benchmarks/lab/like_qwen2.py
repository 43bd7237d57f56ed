"""Writes a checkpoint with the habits of Qwen2's states that the stand-in lacks: what 16 and 8 bits make of them.

    python -m c2llm_lite.benchmarks.lab.like_qwen2 CHECKPOINT FOLDER 3000

The stand-in, a Llama, has massive activations (arXiv 2402.17762) on the first token alone, and no biases. Qwen2.5 has
them on delimiters too, and biases of q, k and v up to a few hundred. So:

- The least used neuron of an early feed-forward comes to detect tokens with a line break, and writes what is asked for
  into the two largest dimensions of the stream, where it stays until the last layers.
- Keys get biases, of KEY_BIAS in the first and the last layer and of BIAS between: Qwen2.5-7B's have norms of 605 and
  921 there and of about 22 elsewhere (llama.cpp's issue 21385). Each is at most what moves a score by MOVED over
  DISTANCE tokens, so that only slow rotary pairs have large ones: a bias alike for all keys changes no attention.
- Queries get biases of at most BIAS in the rotary pairs in which keys vary least.
- Values get biases of VALUE_BIAS in the direction that o_proj shrinks most, and o_proj no longer lets it through: so
  these biases change no state, while the inputs of o_proj have them.

The backbone no longer computes what it did. An affine map from its states to the old ones, fitted on calibration texts
(recovery.fit), goes into the head's keys and values. All tensors are written in fp32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import typer

from c2llm_lite.bundle import Backbone
from c2llm_lite.convert import calibration_ids, reference
from c2llm_lite.convert.calibrate import recovery, texts
from c2llm_lite.convert.checkpoint import PMA, Weights, open_checkpoint
from c2llm_lite.convert.checkpoint.safetensors_file import Dtype, Stored, widen
from c2llm_lite.pma import Array

from .changed_checkpoint import write_changed

EARLY = 3  # the layer that writes them; the first token's arise in layers 2 to 11
LINE_BREAK = "Ċ"  # as byte-level BPE spells it
OPEN = 6.0  # the neuron's gate on a line break, and its negative on another token
WEIGHT = 5.0  # about, with which it writes: that of the stand-in's own neurons which do is 5.0 to 6.7
RIDGE = 1e-3
KEY_BIAS = 200.0
BIAS = 8.0
VALUE_BIAS = 1.0
DISTANCE = 512  # tokens
MOVED = 0.5
ASKED = 0.15  # about: the standard deviation of what a query bias adds to a score
TOKENS = 128  # of a text that the head is fitted on
SHARE = 2  # one text in so many


class Changed:
    """A checkpoint's weights with some of them replaced. See Weights."""

    def __init__(self, given: Weights, changes: Mapping[str, Array]) -> None:
        self.backbone: Backbone = given.backbone
        self._given, self._changes = given, changes

    def names(self) -> list[str]:
        """See Weights."""
        return self._given.names()

    def shape(self, name: str) -> tuple[int, ...]:
        """See Weights."""
        return self._given.shape(name)

    def stored(self, name: str) -> tuple[Stored, Dtype]:
        """See Weights."""
        return (self._changes[name], "F32") if name in self._changes else self._given.stored(name)

    def tensor(self, name: str) -> Array:
        """See Weights."""
        return widen(*self.stored(name))


def main(checkpoint: Path, folder: Path, most: float) -> None:
    """Write FOLDER: the checkpoint with massive activations of MOST on its delimiters, and with biases."""
    given = open_checkpoint(checkpoint)
    ids = [text[:TOKENS] for text in calibration_ids(given, texts.default())][::SHARE]
    vocabulary = json.loads(given.tokenizer_file.read_text(encoding="utf-8"))["model"]["vocab"]
    changes = massive(given, ids, most, [token for word, token in vocabulary.items() if LINE_BREAK in word])
    changes |= biased(Changed(given, changes), ids)
    full = reference.states(given, ids)
    largest = reference.Largest()
    ours = reference.states(Changed(given, changes), ids, largest=largest)
    fitted = recovery.fit(ours, full)
    for name in ("mab.fc_k", "mab.fc_v"):
        weights = given.tensor(f"{PMA}{name}.weight")
        changes[f"{PMA}{name}.weight"] = weights @ fitted.matrix
        changes[f"{PMA}{name}.bias"] = given.tensor(f"{PMA}{name}.bias") + weights @ fitted.bias
    folder.mkdir(parents=True)
    written = Changed(given, changes)
    write_changed(given, folder, ((name, written.tensor(name)) for name in given.names()))
    print(json.dumps({name: round(value) for name, value in vars(largest).items()}))


def massive(given: Weights, ids: Sequence[Sequence[int]], most: float, breaks: Sequence[int]) -> dict[str, Array]:
    """The feed-forward of layer EARLY with the neuron that writes on line breaks. breaks: the tokens with one."""
    table, dtype = given.stored("embed_tokens.weight")
    flat, lengths = np.concatenate(ids), [len(text) for text in ids]
    x, inputs = widen(table[flat], dtype), dict[str, Array]()
    for number in range(EARLY + 1):
        x = reference.Layer(given, number)(x, lengths, inputs.__setitem__)
    names = [f"layers.{EARLY}.mlp.{part}_proj.weight" for part in ("gate", "up", "down")]
    gate, up, down = (given.tensor(name).copy() for name in names)
    neuron = int(np.square(inputs[names[2]]).mean(axis=0).argmin())
    found = np.isin(flat, breaks)
    states = inputs[names[0]].astype(np.float64)
    gram = states.T @ states
    gram[np.diag_indices(len(gram))] += RIDGE * np.trace(gram) / len(gram)
    wanted = np.stack([np.where(found, OPEN, -OPEN), most / (OPEN * WEIGHT) * found], axis=1)
    gate[neuron], up[neuron] = np.linalg.solve(gram, states.T @ wanted).T
    largest = np.abs(x).max(axis=0)
    written = np.argsort(-largest)[:2]
    reached = reference.silu(states @ gate[neuron]) * (states @ up[neuron])
    down[:, neuron] = 0
    down[written, neuron] = most / np.abs(reached).max() * largest[written] / largest[written].max()
    return dict(zip(names, (gate, up, down), strict=True))


def biased(given: Weights, ids: Sequence[Sequence[int]], seed: int = 0) -> dict[str, Array]:
    """Biases of q, k and v of every layer, and the o_proj that lets none of v's through, by their names."""
    shape, random = given.backbone, np.random.default_rng(seed)
    pairs = shape.head_dim // 2
    turns = DISTANCE * shape.rope_theta ** (-np.arange(pairs) / pairs)  # radians over DISTANCE tokens
    ends = "layers.0", f"layers.{shape.layers - 1}"
    found: dict[str, Array] = {}

    def observe(name: str, inputs: Array) -> None:
        layer, matrix = name.rsplit(".self_attn.", 1) if "self_attn" in name else (name, "")
        if matrix != "q_proj.weight":
            return
        q, k = (inputs @ given.tensor(f"{layer}.self_attn.{part}_proj.weight").T for part in "qk")
        queries = np.abs(q).reshape(len(q), shape.kv_heads, -1, 2, pairs).max(axis=(0, 2, 3))  # (kv_heads, pairs)
        room = MOVED * shape.head_dim**0.5 / (queries * np.minimum(turns, 1))
        keys = np.minimum(KEY_BIAS if layer in ends else BIAS, room)[:, None] * random.choice(
            [-1, 1], (shape.kv_heads, 2, pairs)
        )
        spread = k.std(axis=0).reshape(shape.kv_heads, 2, pairs).max(axis=1)  # (kv_heads, pairs)
        asked = np.minimum(BIAS, ASKED * shape.head_dim**0.5 / (spread * pairs**0.5))
        asked = np.repeat(asked, shape.heads // shape.kv_heads, axis=0)[:, None]
        asks = asked * random.choice([-1, 1], (shape.heads, 2, pairs))
        out = f"{layer}.self_attn.o_proj.weight"
        values, found[out] = _values_and_out(given.tensor(out), shape)
        for part, bias in (("q", asks.ravel()), ("k", keys.ravel()), ("v", values)):
            name = f"{layer}.self_attn.{part}_proj.bias"
            found[name] = given.tensor(name) + bias.astype(np.float32)

    reference.states(given, ids[:: max(1, len(ids) // 16)], observe=observe)
    return found


def _values_and_out(out: Array, shape: Backbone) -> tuple[Array, Array]:
    """Biases of a layer's values (kv_heads × dim,), and its o_proj (hidden, heads × dim) that lets none through."""
    sharing = shape.heads // shape.kv_heads
    shared = out.reshape(len(out), shape.kv_heads, sharing, shape.head_dim).sum(axis=2).reshape(len(out), -1)
    least = np.linalg.svd(shared)[2][-1].astype(np.float32)  # the direction of values that reaches the stream least
    of_heads = np.repeat(least.reshape(shape.kv_heads, 1, -1), sharing, axis=1).ravel() / np.float32(sharing)
    return VALUE_BIAS * least / np.abs(least).max(), out - np.outer(shared @ least, of_heads)


if __name__ == "__main__":
    typer.run(main)
