"""Full-precision bundles (`torch:fp32`, `torch:bf16`): the reference that every other target is measured against.

The backbone's tensors go under Hugging Face's names for Qwen2Model into one safetensors file; no torch is needed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from c2llm_lite.bundle import FP32, SAFETENSORS

from ..checkpoint import Weights, backbone_names
from ..checkpoint.safetensors_file import bf16_bits, widen
from ..checkpoint.safetensors_writer import Tensor, write_safetensors
from . import registry

# Measured: this engine and torch 2.13 imported, before any weight is read, take 225 MiB.
LIBRARIES = 225 << 20


def kinds(checkpoint: Weights) -> dict[str, float]:
    """Any backbone can be held in fp32 and bf16; the numbers are bits a weight."""
    return {kind: float(registry.find("torch", kind).bits) for kind in registry.kinds("torch")}


def write_backbone(checkpoint: Weights, folder: Path, kind: str) -> dict[str, str]:
    """Write the backbone, token embeddings apart, in `kind` to model.safetensors; returns each tensor's type by name.

    Holds one tensor at a time. bf16 from a bf16 checkpoint is exact, from a wider one rounded to nearest even. Raises
    CheckpointError for NaN or infinity in a weight.
    """
    names = backbone_names(checkpoint)
    write_safetensors(folder / SAFETENSORS, _tensors(checkpoint, names, kind), len(names))
    return dict.fromkeys(names, kind)


def memory(checkpoint: Weights, kind: str) -> int:
    """Bytes that a process running the bundle takes, beside what a batch takes."""
    weights = sum(int(np.prod(checkpoint.shape(name))) for name in backbone_names(checkpoint))
    return weights * registry.find("torch", kind).bits // 8 + LIBRARIES


def bf16_tensor(checkpoint: Weights, name: str) -> Tensor:
    """A tensor of the checkpoint in bf16, as it is stored or rounded."""
    values, dtype = checkpoint.stored(name)
    return Tensor(name, "BF16", values if dtype == "BF16" else bf16_bits(widen(values, dtype)))


def _tensors(checkpoint: Weights, names: list[str], kind: str) -> Iterator[Tensor]:
    for name in names:
        yield Tensor(name, "F32", checkpoint.tensor(name)) if kind == FP32 else bf16_tensor(checkpoint, name)
