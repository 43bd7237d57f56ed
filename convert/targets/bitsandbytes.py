"""bitsandbytes bundles (`bnb:int8`, `bnb:nf4`): every matrix quantized once, here, and stored quantized.

int8: a scale a row of weights and a scale a token of activations: LLM.int8() (arXiv 2208.07339) without its outlier
threshold, under which one text's outliers would change another text's vector. What the threshold is for, smoothing does
better here (smoothing.py). nf4: QLoRA's 4-bit normal floats (arXiv 2305.14314) in blocks of 64, whose scales are
quantized again to 8 bits in blocks of 256; with calibration texts GPTQ chooses the levels, on bitsandbytes' own scales.
Gains and biases stay in bf16. Quantizing runs on a CPU.

Names in the file are bitsandbytes' own: NAME.weight and MODULE.SCB for int8; NAME.weight, NAME.weight.absmax and the
rest of its quantization state for nf4.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c2llm_lite.bundle import BF16, SAFETENSORS, Backbone
from c2llm_lite.errors import CheckpointError, MissingDependencyError
from c2llm_lite.pma import Array

from ..calibrate.gptq import round_matrix
from ..calibrate.grids import Grid
from ..calibrate.layers import Calibration, round_in_order
from ..calibrate.resume import Parts
from ..checkpoint import Weights, backbone_names
from ..checkpoint.safetensors_file import bf16_bits
from ..checkpoint.safetensors_writer import Dtype, Tensor, write_safetensors
from . import registry
from .full import LIBRARIES

NF4_BLOCK = 64  # weights that share a scale
NF4_NESTED_BLOCK = 256  # scales that share a scale
NF4_ROWS = 32  # bitsandbytes' CPU kernel takes rows in groups of 32
NF4_TENSORS = 6  # in the file for each matrix
# Of each matrix beside weights and scales: the 16 and 256 fp32 levels, and 192 bytes of JSON (shape, types, offset).
NF4_TABLES = 4 * (16 + 256) + 192
NF4_DTYPES: dict[str, Dtype] = {"float32": "F32", "uint8": "U8"}
BNB_LIBRARY = 50 << 20  # bitsandbytes imported, measured


def kinds(checkpoint: Weights) -> dict[str, float]:
    """The kinds that these shapes can hold, each with its bits a backbone weight, scales and vectors included."""
    backbone = checkpoint.backbone
    fitting = [kind for kind in registry.kinds("bnb") if kind != "nf4" or not nf4_misfit(backbone)]
    weights = sum(rows * width for rows, width in matrices(backbone)) + vectors(backbone)
    return {kind: 8 * stored_bytes(backbone, kind) / weights for kind in fitting}


def write_backbone(
    checkpoint: Weights,
    folder: Path,
    kind: str,
    *,
    calibration: Calibration | None = None,
) -> dict[str, str]:
    """Write the backbone with every matrix in `kind` to model.safetensors; returns each tensor's type by name.

    Holds one matrix at a time, and when calibrated the codes of all of nf4's, whose levels are then chosen by the
    calibration's texts (gptq.py), or else are each weight's nearest. Raises CheckpointError for a kind that these
    shapes cannot hold, MissingDependencyError without torch or bitsandbytes.
    """
    if kind == "nf4" and (misfit := nf4_misfit(checkpoint.backbone)):
        raise CheckpointError(f"bnb:nf4 {misfit}; convert to bnb:int8 instead")
    quantize = _Quantizer(kind)
    if kind == "nf4" and calibration is not None:
        round_in_order(checkpoint, calibration, quantize.round_nf4, quantize.place_nf4)
    names = backbone_names(checkpoint)
    types = {name: kind if len(checkpoint.shape(name)) == 2 else BF16 for name in names}

    def tensors() -> Iterator[Tensor]:
        for name, dtype in types.items():
            values = checkpoint.tensor(name)
            if dtype == BF16:
                yield Tensor(name, "BF16", bf16_bits(values))
            else:
                yield from quantize(name, values)

    write_safetensors(folder / SAFETENSORS, tensors(), NF4_TENSORS * len(names))
    return types


def memory(checkpoint: Weights, kind: str) -> int:
    """Bytes that a process running the bundle takes, beside what a batch takes."""
    return stored_bytes(checkpoint.backbone, kind) + LIBRARIES + BNB_LIBRARY


def stored_bytes(backbone: Backbone, kind: str) -> int:
    """Bytes of the backbone in `kind`, computed from its shapes: on disk, less the file's header, and in memory."""
    total = 2 * vectors(backbone)
    for rows, width in matrices(backbone):
        if kind == "int8":
            total += rows * width + 4 * rows
        else:
            scales = rows * width // NF4_BLOCK
            total += rows * width // 2 + scales + 4 * -(-scales // NF4_NESTED_BLOCK) + NF4_TABLES
    return total


def matrices(backbone: Backbone) -> list[tuple[int, int]]:
    """(rows, width) of every matrix that is quantized."""
    hidden, kv, wide = backbone.hidden, backbone.kv_heads * backbone.head_dim, backbone.intermediate
    layer = [(hidden, hidden), (kv, hidden), (kv, hidden), (hidden, hidden)]
    layer += [(wide, hidden), (wide, hidden), (hidden, wide)]
    return layer * backbone.layers


def vectors(backbone: Backbone) -> int:
    """Gains and biases, which are not quantized."""
    kv = backbone.kv_heads * backbone.head_dim
    return backbone.layers * (3 * backbone.hidden + 2 * kv) + backbone.hidden


def nf4_misfit(backbone: Backbone) -> str | None:
    """Why this backbone cannot be held in nf4; None if it can."""
    for rows, width in matrices(backbone):
        if width % NF4_BLOCK or rows % NF4_ROWS:
            return (
                f"takes rows of {NF4_BLOCK}s of weights in groups of {NF4_ROWS}, and a matrix here is {rows} x {width}"
            )
    return None


class _Quantizer:
    """bitsandbytes' quantizers, on the CPU."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        try:
            import torch
        except ImportError as error:
            raise MissingDependencyError("torch", "bitsandbytes", f"bnb:{kind}") from error
        # It warns while it is imported that an optional kernel of the hub is missing, which nothing here needs.
        logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
        try:
            from bitsandbytes import functional
        except ImportError as error:
            raise MissingDependencyError("bitsandbytes", "bitsandbytes", f"bnb:{kind}") from error
        self._torch = torch
        self._functional: Any = functional
        self._placed: dict[str, Parts] = {}

    def round_nf4(self, name: str, weights: Array, moments: Array) -> tuple[Array, Parts]:
        """A Rounding (layers.py)."""
        _, state = self._nf4(weights)
        scales = self._functional.dequantize_blockwise(state.absmax, state.state2) + state.offset
        grid = Grid(state.code.numpy(), NF4_BLOCK)
        given = scales.numpy().reshape(len(weights), -1)  # (rows, width / block)
        codes, _ = round_matrix(weights, moments, grid, given)
        pairs = codes.reshape(-1, 2)  # that share a byte
        packed = np.bitwise_or(pairs[:, :1] << 4, pairs[:, 1:], dtype=np.uint8)
        return grid.decode(codes, given), _nf4_parts(packed, state)

    def place_nf4(self, name: str, parts: Parts) -> None:
        """A Placing (layers.py): kept for when the matrix `name` is written."""
        self._placed[name] = parts

    def __call__(self, name: str, weights: Array) -> Iterator[Tensor]:
        """The tensors that hold the matrix `name`, (rows, width) float32."""
        if self._kind == "int8":
            matrix = self._torch.from_numpy(np.array(weights))  # a copy: the checkpoint's own is read-only
            # The type that bitsandbytes quantizes from; its step is finer than int8's.
            values, scales, _ = self._functional.int8_vectorwise_quant(matrix.to(self._torch.float16))
            if not scales.isfinite().all():
                raise CheckpointError(f"{name} has a weight beyond fp16's 65504; convert to bnb:nf4 instead")
            yield Tensor(name, "I8", values.numpy())
            yield Tensor(name.removesuffix("weight") + "SCB", "F32", scales.numpy())
            return
        for part, values in (self._placed.get(name) or _nf4_parts(*self._nf4(weights))).items():
            yield Tensor(f"{name}{part}", NF4_DTYPES[str(values.dtype)], values)

    def _nf4(self, weights: Array) -> tuple[NDArray[np.uint8], Any]:
        """The nearest levels, packed, and the scales' state."""
        # bf16: the type of what it is dequantized to.
        matrix = self._torch.from_numpy(np.array(weights)).to(self._torch.bfloat16)
        packed, state = self._functional.quantize_4bit(
            matrix, blocksize=NF4_BLOCK, compress_statistics=True, quant_type="nf4"
        )
        return packed.numpy(), state


def _nf4_parts(packed: NDArray[np.uint8], state: Any) -> Parts:
    """What the file holds of a matrix, by what follows the matrix's name: the codes, and the scales' state."""
    parts: Parts = {"": packed}
    for part, tensor in state.as_dict(packed=True).items():
        values = tensor.numpy()
        if part.startswith("quant_state."):
            # JSON as bytes: padded with spaces, so that what follows in the file stays aligned.
            values = np.frombuffer(values.tobytes().ljust(-(-len(values) // 64) * 64), np.uint8)
        parts[f".{part}"] = values
    return parts
