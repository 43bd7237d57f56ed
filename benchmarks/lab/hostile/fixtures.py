"""The inputs of the cases: a checkpoint, a bundle for each engine, and the correct vectors of each.

python -m c2llm_lite.benchmarks.lab.hostile.fixtures FOLDER
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import c2llm_lite
from c2llm_lite.convert import convert
from c2llm_lite.pma import Array

from .tiny import TEXTS, write_checkpoint

GGUF, OPENVINO, TORCH = "gguf:f32", "openvino:int8", "torch:fp32"


@dataclass(frozen=True)
class Fixtures:
    """A folder that `write` has filled."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        """The tiny checkpoint."""
        return self.folder / "checkpoint"

    def bundle(self, target: str) -> Path:
        """The bundle of one of the targets."""
        return self.folder / target.replace(":", "-")

    def vectors(self, target: str) -> Array:
        """The right vectors of TEXTS."""
        found: Array = np.load(self.bundle(target).with_suffix(".npy"))
        return found


def write(folder: Path) -> None:
    """Fill `folder`; run in a process of its own, since engines start threads."""
    made = Fixtures(folder)
    write_checkpoint(made.checkpoint)
    for target in (GGUF, OPENVINO, TORCH):
        convert(made.checkpoint, made.bundle(target), target)
        with c2llm_lite.load(made.bundle(target), threads=1, cache=False) as model:
            np.save(made.bundle(target).with_suffix(".npy"), model.embed(TEXTS))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
