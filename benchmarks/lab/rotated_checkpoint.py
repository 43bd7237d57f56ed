"""Writes a checkpoint with a rotated residual stream and the same embeddings: the gain of rotation at 4 bits.

    python -m c2llm_lite.benchmarks.lab.rotated_checkpoint CHECKPOINT FOLDER

RMSNorm's gains go into the matrices that read the normed stream, and what is left of it has no axes of its own; so an
orthogonal Q can turn the stream, embeddings and all (QuaRot, arXiv 2404.00456, section 4, stage 1a; there Q is a
randomized Hadamard matrix, here a random one, which every width has). The head reads the final norm's gains and Q⁻¹
with its keys and values, so rotation costs nothing at run time. It spreads what few wide columns hold over all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import typer

from c2llm_lite.convert.calibrate.smoothing import SHARED_INPUTS
from c2llm_lite.convert.checkpoint import PMA, Checkpoint, open_checkpoint
from c2llm_lite.pma import Array

from .changed_checkpoint import write_changed

# By the gains of the norm whose stream they read.
READERS = {makers[0]: readers for readers, makers in SHARED_INPUTS.values() if makers[0].endswith("layernorm.weight")}
WRITERS = ("self_attn.o_proj", "mlp.down_proj")
HEAD_READERS = ("mab.fc_k.weight", "mab.fc_v.weight")


def write_rotated(checkpoint: Checkpoint, folder: Path, seed: int = 0) -> None:
    """Write into `folder`, which exists, the checkpoint rotated by a random orthogonal matrix, all in fp32."""
    write_changed(checkpoint, folder, _rotated(checkpoint, orthogonal(checkpoint, seed)))


def orthogonal(checkpoint: Checkpoint, seed: int) -> Array:
    """(hidden, hidden), float32."""
    random = np.random.default_rng(seed).standard_normal((checkpoint.backbone.hidden,) * 2)
    turned: Array = np.linalg.qr(random)[0].astype(np.float32)
    return turned


def _rotated(checkpoint: Checkpoint, turn: Array) -> Iterator[tuple[str, Array]]:
    """Every tensor by its name; turn: Q (hidden, hidden), by which rows of the stream are multiplied."""
    gains = {"norm.weight": [PMA + name for name in HEAD_READERS]}
    for number in range(checkpoint.backbone.layers):
        for norm, readers in READERS.items():
            gains[f"layers.{number}.{norm}"] = [f"layers.{number}.{name}.weight" for name in readers]
    gain_of = {reader: gain for gain, readers in gains.items() for reader in readers}
    for name in checkpoint.names():
        values: Array = checkpoint.tensor(name)
        if name in gains:
            values = np.ones(values.shape, np.float32)
        elif name in gain_of:
            values = np.matmul(values * checkpoint.tensor(gain_of[name]), turn)
        elif name == "embed_tokens.weight":
            values = values @ turn
        elif any(f"{writer}.weight" in name for writer in WRITERS):
            values = turn.T @ values
        yield name, values


def main(checkpoint: str, folder: Path) -> None:
    """Write CHECKPOINT, rotated, into the new FOLDER."""
    folder.mkdir(parents=True)
    write_rotated(open_checkpoint(checkpoint), folder)


if __name__ == "__main__":
    typer.run(main)
