"""Compares a headless GGUF file with the manifest: every key, value, tensor name, type, shape and offset.

llama.cpp trusts the file: an unknown key, a norm in another type, or a matrix without a kernel can end the process.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

from ...bundle import F32, Backbone, Manifest
from ...errors import ArgumentError, BundleError
from .block_types import TYPES
from .gguf_header import ALIGNMENT, Header, TensorInfo, Value, read_header
from .padding import stored_shape
from .tensor_names import tensor_names, tensor_shape

ARCHITECTURE = "qwen2"  # llama.cpp's name for it
QUANTIZATION_VERSION = 2  # of ggml's blocks
VOCAB = 64  # llama.cpp asks for a token table; none of its rows is ever read
TABLE = "token_embd.weight"
VECTOR_TYPE = F32  # of gains and biases, whatever the matrices are in


def check_file(path: Path, manifest: Manifest) -> None:
    """Raises BundleError, naming what differs, unless `path` is exactly the manifest's backbone."""
    try:
        header = read_header(path)
        stored = stored_shape(manifest.backbone, manifest.tensors.values())
        _compare("key", header.values, _values(stored))
        _compare("tensor", _without_offsets(header), _tensors(manifest, stored))
        _check_places(header)
    except (OSError, ValueError) as error:  # a UnicodeDecodeError is a ValueError
        raise BundleError(
            f"{path} is not the backbone that the manifest describes: {error}; copy the bundle again, or convert again"
        ) from error


def _values(backbone: Backbone) -> dict[str, Value]:
    """What the converter writes, by GGUF's keys."""
    return {
        "general.architecture": ARCHITECTURE,
        "general.quantization_version": QUANTIZATION_VERSION,
        "tokenizer.ggml.model": "none",
        f"{ARCHITECTURE}.context_length": backbone.max_positions,
        f"{ARCHITECTURE}.embedding_length": backbone.hidden,
        f"{ARCHITECTURE}.block_count": backbone.layers,
        f"{ARCHITECTURE}.feed_forward_length": backbone.intermediate,
        f"{ARCHITECTURE}.attention.head_count": backbone.heads,
        f"{ARCHITECTURE}.attention.head_count_kv": backbone.kv_heads,
        f"{ARCHITECTURE}.attention.layer_norm_rms_epsilon": _as_float32(backbone.rms_norm_eps),
        f"{ARCHITECTURE}.rope.freq_base": _as_float32(backbone.rope_theta),
        f"{ARCHITECTURE}.pooling_type": 0,
        f"{ARCHITECTURE}.vocab_size": VOCAB,
    }


def _tensors(manifest: Manifest, stored: Backbone) -> dict[str, tuple[tuple[int, ...], int]]:
    """Each tensor's shape, rows last, and ggml's number of its type."""
    found: dict[str, tuple[tuple[int, ...], int]] = {TABLE: ((stored.hidden, VOCAB), TYPES[VECTOR_TYPE].number)}
    for name, gguf_name in tensor_names(stored.layers):
        shape = tensor_shape(name, stored)
        kind = manifest.tensors.get(name, "missing")
        if kind not in TYPES or not (len(shape) > 1 or kind == VECTOR_TYPE):
            raise ArgumentError(f"the manifest's type of {name} is {kind!r}")
        if shape[-1] % TYPES[kind].weights:
            raise ArgumentError(
                f"rows of {shape[-1]} weights cannot be stored as {kind}, the manifest's type of {name}"
            )
        found[gguf_name] = shape[::-1], TYPES[kind].number
    return found


def _without_offsets(header: Header) -> dict[str, tuple[tuple[int, ...], int]]:
    return {name: (info.shape, info.kind) for name, info in header.tensors.items()}


def _compare(what: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name in sorted(found.keys() | wanted.keys()):
        if name not in found:
            raise ArgumentError(f"the {what} {name} is missing")
        if name not in wanted:
            raise ArgumentError(f"the {what} {name!r} is unknown")
        if found[name] != wanted[name] or type(found[name]) is not type(wanted[name]):
            raise ArgumentError(f"the {what} {name} is {found[name]!r}, not {wanted[name]!r}")


def _check_places(header: Header) -> None:
    """Tensors lie one after another, each at the next multiple of the alignment, and fill the file."""
    end = 0
    for name, info in header.tensors.items():
        if info.offset != end:
            raise ArgumentError(f"the tensor {name} is at {info.offset}, not at {end}")
        end += _bytes(info)
        end += -end % ALIGNMENT
    if header.data + end != header.size:
        raise ArgumentError(f"it has {header.size} bytes, but its tensors end at {header.data + end}")


def _bytes(info: TensorInfo) -> int:
    found = next(kind for kind in TYPES.values() if kind.number == info.kind)
    return math.prod(info.shape) // found.weights * found.size


def _as_float32(value: float) -> float:
    found: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return found
