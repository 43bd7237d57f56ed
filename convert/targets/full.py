"""Full-precision bundles (`torch:fp32`, `torch:bf16`): the reference that every other target is measured against.

The backbone's tensors go under Hugging Face's names for Qwen2Model into one safetensors file; no torch is needed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from c2llm_lite.errors import CheckpointError
from c2llm_lite.pma import Array

from ..checkpoint.safetensors_writer import Tensor, write_safetensors

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint

FILE = "model.safetensors"  # what engines/torch.py reads
BYTES = {"fp32": 4, "bf16": 2}  # of a weight
# Measured: torch 2.13 and transformers 5.5 imported, before any weight is read, take 330 MiB.
LIBRARIES = 330 << 20


def kinds(checkpoint: Checkpoint) -> dict[str, float]:
    """Any backbone can be held in fp32 and bf16; the numbers are bits a weight."""
    return {kind: 8.0 * size for kind, size in BYTES.items()}


def write_backbone(checkpoint: Checkpoint, folder: Path, kind: str) -> dict[str, str]:
    """Write the backbone, token embeddings apart, in `kind` to model.safetensors; returns each tensor's type by name.

    Holds one tensor at a time. bf16 from a bf16 checkpoint is exact, from a wider one rounded to nearest even. Raises
    CheckpointError for a kind that does not exist, or NaN or infinity in a weight.
    """
    if kind not in BYTES:
        raise CheckpointError(f"torch:{kind} is not a type this package writes: choose one of {', '.join(BYTES)}")
    names = backbone_names(checkpoint)
    write_safetensors(folder / FILE, _tensors(checkpoint, names, kind), len(names))
    return dict.fromkeys(names, kind)


def memory(checkpoint: Checkpoint, kind: str) -> int:
    """Bytes that a process running the bundle takes, beside what a batch takes."""
    weights = sum(int(np.prod(checkpoint.shape(name))) for name in backbone_names(checkpoint))
    return weights * BYTES[kind] + LIBRARIES


def backbone_names(checkpoint: Checkpoint) -> list[str]:
    """The backbone's tensors, without the token embeddings and a language model's head."""
    return sorted(name for name in checkpoint.names() if name.startswith("layers.") or name == "norm.weight")


def bf16_tensor(checkpoint: Checkpoint, name: str) -> Tensor:
    """A tensor of the checkpoint in bf16, as it is stored or rounded."""
    values, dtype = checkpoint.stored(name)
    return Tensor(name, "BF16", values if dtype == "BF16" else bf16_bits(checkpoint.tensor(name)))


def bf16_bits(values: Array) -> NDArray[np.uint16]:
    """float32 -> the bits of bf16, rounded to nearest, ties to even; for finite values."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded: NDArray[np.uint16] = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return rounded


def _tensors(checkpoint: Checkpoint, names: list[str], kind: str) -> Iterator[Tensor]:
    for name in names:
        yield Tensor(name, "F32", checkpoint.tensor(name)) if kind == "fp32" else bf16_tensor(checkpoint, name)
