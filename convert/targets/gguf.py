"""Target gguf:TYPE: the backbone as a headless GGUF file for llama.cpp, every matrix in exactly the type asked for.

Headless: in embedding mode llama.cpp computes the vocabulary projection of every token and throws it away (upstream
issue 24713). So the file has a vocabulary of 64 rows of zeros in place of the real one, and the engine feeds rows of
token_embeddings.npy instead of token ids.

Tensors are quantized one at a time with ggml's own `ggml_quantize_chunk`, because `llama_model_quantize` substitutes
types silently. The format is that of ggml/docs/gguf.md: gguf-py writes the header, and the tensors follow one by one.
"""

from __future__ import annotations

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c2llm_lite.bundle import GGUF, Backbone
from c2llm_lite.engines.llama_cpp import PACK_TOKENS
from c2llm_lite.engines.llama_cpp.block_types import TYPES, BlockType
from c2llm_lite.engines.llama_cpp.check import ARCHITECTURE, TABLE, VECTOR_TYPE, VOCAB
from c2llm_lite.engines.llama_cpp.gguf_header import ALIGNMENT
from c2llm_lite.engines.llama_cpp.native import ggml
from c2llm_lite.engines.llama_cpp.padding import stored_shape
from c2llm_lite.engines.llama_cpp.tensor_names import tensor_names, tensor_shape
from c2llm_lite.errors import CheckpointError, MissingDependencyError
from c2llm_lite.pma import Array

from ..calibrate.gptq import round_matrix
from ..calibrate.grids import GRIDS, encode
from ..calibrate.layers import Calibration, round_in_order
from ..calibrate.resume import Parts
from ..checkpoint import Weights
from . import registry
from .padded import Padded

# The type of most matrices, or of all: of the 4-bit types the one that kept most (ARCHITECTURE.md, Calibration).
RECIPES = {"int4": "iq4_nl", "int5": "iq4_nl"}
# ggml's own types. The K-quants' blocks are 256 weights long (padding.py), the others' 32 or 1.
KINDS = tuple(kind for kind in registry.kinds("gguf") if kind not in RECIPES)
# int5 has these, and the last layer's feed-forward, in q8_0: the embedding feels their rounding most for their size.
FELT = ("self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
FELT_TYPE = "q8_0"
FP16_MAX = float(np.finfo(np.float16).max)
MOST_PADDING = 1.5  # times a row's width; C2LLM-0.5B's rows take 1.14, the stand-in's 1.33


def write_backbone(
    checkpoint: Weights,
    folder: Path,
    kind: str,
    *,
    calibration: Calibration | None = None,
) -> dict[str, str]:
    """Write the backbone into `folder` with every matrix in `kind`, a type or a recipe; returns the tensors' types.

    Holds one tensor at a time. calibration: for the kinds of grids.py and the recipes. Matrices are then moved
    (layers.py) and rounded by what that does to their outputs (gptq.py), in place of each weight to its nearest
    level.

    Raises CheckpointError if a row cannot hold the kind, or a weight is beyond its range.
    """
    _check_kind(checkpoint, kind)
    stored = _as_stored(checkpoint, kind)
    gguf = _gguf()
    path = folder / GGUF
    quantize = Quantizer()
    names = dict(tensor_names(checkpoint.backbone.layers))
    types = tensor_types(checkpoint, kind)

    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    _add_metadata(gguf, writer, stored.backbone)
    table = np.zeros((VOCAB, stored.backbone.hidden), np.float32)
    writer.add_tensor_info(TABLE, table.shape, table.dtype, table.nbytes)
    sizes = {TABLE: table.nbytes}
    for name, gguf_name in names.items():
        shape, tensor_type = stored.shape(name), types[name]
        sizes[name] = _bytes(shape, tensor_type)
        writer.add_tensor_info(gguf_name, shape, np.dtype(np.float32), sizes[name], ggml_type(gguf, tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()

    # Not the writer's own way to write data: on a full disk it raises an error without its errno.
    starts, end = _places(path.stat().st_size, sizes)
    with path.open("r+b") as file:

        def rounding(name: str, weights: Array, moments: Array) -> tuple[Array, Parts]:
            grid = GRIDS[types[name]]
            if isinstance(stored, Padded):
                codes, scales = round_matrix(stored.widened(name, weights), stored.moments(name, moments), grid)
                rounded = stored.narrowed(name, grid.decode(codes, scales))
            else:
                codes, scales = round_matrix(weights, moments, grid)
                rounded = grid.decode(codes, scales)
            return rounded, {"tensor": encode(codes, scales, types[name])}

        def placing(name: str, parts: Parts) -> None:
            _put(file, starts[name], parts["tensor"])

        _put(file, starts[TABLE], table)
        for name, tensor_type in types.items():
            weights = stored.tensor(name)
            _check_range(name, weights, tensor_type)
            if calibration is None or tensor_type == VECTOR_TYPE:
                _put(file, starts[name], quantize(weights, tensor_type))
        if calibration is not None:
            round_in_order(checkpoint, calibration, rounding, placing)
        file.truncate(end)
    return types


def tensor_types(checkpoint: Weights, kind: str) -> dict[str, str]:
    """Each backbone tensor's type, by ggml's names, in a kind or a recipe."""
    last = f"layers.{checkpoint.backbone.layers - 1}.mlp."

    def chosen(name: str) -> str:
        if len(checkpoint.shape(name)) == 1:
            return VECTOR_TYPE
        felt = name.startswith(last) or any(part in name for part in FELT)
        return FELT_TYPE if kind == "int5" and felt else RECIPES.get(kind, kind)

    return {name: chosen(name) for name, _ in tensor_names(checkpoint.backbone.layers)}


def kinds(checkpoint: Weights) -> dict[str, float]:
    """The kinds that every matrix of this backbone can hold, with the bits a weight takes, scales, padding and all."""
    weights = sum(int(np.prod(checkpoint.shape(name))) for name, _ in tensor_names(checkpoint.backbone.layers))
    return {
        kind: 8 * _weights_bytes(checkpoint, kind) / weights
        for kind in (*KINDS, *RECIPES)
        if not _unfit_rows(checkpoint.backbone, kind)
    }


def memory(checkpoint: Weights, kind: str) -> int:
    """Bytes that llama.cpp takes to run this backbone in `kind` on packs of PACK_TOKENS tokens, weights included.

    Beside the weights: keys and values of one pack, and the buffers of one forward pass, which hold two rows of the
    feed-forward and a few states of each token in fp32 (within a tenth of what llama.cpp logs for the stand-in).
    """
    backbone = stored_shape(checkpoint.backbone, [kind])
    weights = _weights_bytes(checkpoint, kind)
    cache = 2 * backbone.layers * backbone.kv_heads * backbone.head_dim * (4 if kind == "f32" else 2)
    buffers = 4 * (2 * backbone.intermediate + 6 * backbone.hidden)
    return weights + PACK_TOKENS * (cache + buffers)


class Quantizer:
    """ggml's quantizer, out of the library that llama_cpp loads, run on blocks of rows in parallel."""

    def __init__(self) -> None:
        self._chunk = ggml("ggml-base", "a gguf target").ggml_quantize_chunk
        self._chunk.restype = ctypes.c_size_t
        pointer, count = ctypes.c_void_p, ctypes.c_int64
        # (type, source, destination, first weight, rows, row width, importance or NULL)
        self._chunk.argtypes = (ctypes.c_int, pointer, pointer, count, count, count, pointer)

    def __call__(
        self, weights: NDArray[np.float32], kind: str, importance: NDArray[np.float32] | None = None
    ) -> NDArray[np.uint8]:
        """weights: (rows, width) or (width,) float32 -> the bytes of the tensor in `kind`.

        importance: (width,), what a column's squared error weighs.
        """
        source = np.ascontiguousarray(weights, np.float32)
        width = source.shape[-1]
        rows = source.size // width
        out = np.empty(_bytes(source.shape, kind), np.uint8)
        code = int(ggml_type(_gguf(), kind))
        weighed = None if importance is None else importance.ctypes.data
        threads = os.cpu_count() or 1

        def block(start: int, stop: int) -> int:
            arguments = (start * width, stop - start, width, weighed)
            size: int = self._chunk(code, source.ctypes.data, out.ctypes.data, *arguments)
            return size

        cuts = [rows * i // threads for i in range(threads + 1)]
        with ThreadPoolExecutor(threads) as pool:  # ctypes lets other threads run while ggml works
            written = sum(pool.map(block, cuts[:-1], cuts[1:]))
        if written != out.nbytes:
            raise RuntimeError(f"ggml wrote {written} bytes of {kind} where {out.nbytes} were due")
        return out


def add_shape(writer: Any, backbone: Backbone) -> None:
    """A Qwen2 backbone's shape, under GGUF's keys; writer: gguf-py's."""
    writer.add_context_length(backbone.max_positions)
    writer.add_embedding_length(backbone.hidden)
    writer.add_block_count(backbone.layers)
    writer.add_feed_forward_length(backbone.intermediate)
    writer.add_head_count(backbone.heads)
    writer.add_head_count_kv(backbone.kv_heads)
    writer.add_rope_freq_base(backbone.rope_theta)
    writer.add_layer_norm_rms_eps(backbone.rms_norm_eps)


def _add_metadata(gguf: Any, writer: Any, backbone: Backbone) -> None:
    add_shape(writer, backbone)
    writer.add_pooling_type(gguf.PoolingType.NONE)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_tokenizer_model("none")
    writer.add_vocab_size(VOCAB)


def _put(file: Any, start: int, data: NDArray[Any]) -> None:
    file.seek(start)
    file.write(np.ascontiguousarray(data).data)


def _places(begin: int, sizes: dict[str, int]) -> tuple[dict[str, int], int]:
    """Where each tensor starts in the file, the first at or after `begin`, and where the last one's padding ends."""
    starts = {}
    for name, size in sizes.items():
        starts[name] = begin + -begin % ALIGNMENT
        begin = starts[name] + size
    return starts, begin + -begin % ALIGNMENT


def _as_stored(checkpoint: Weights, kind: str) -> Weights:
    """The weights in the shape that a file of this kind has."""
    shape = stored_shape(checkpoint.backbone, [kind])
    return checkpoint if shape == checkpoint.backbone else Padded(checkpoint, shape)


def _check_kind(checkpoint: Weights, kind: str) -> None:
    """Raise CheckpointError, naming the types that fit, unless every matrix of this backbone can be held in `kind`."""
    unfit = _unfit_rows(checkpoint.backbone, kind)
    if unfit:
        raise CheckpointError(
            f"gguf:{kind} takes rows of a multiple of {_block(kind).weights} weights, but this backbone has rows of "
            f"{unfit[0]}; choose one of {', '.join(kinds(checkpoint))}"
        )


def _check_range(name: str, weights: NDArray[np.float32], kind: str) -> None:
    """Every type but f32 and bf16 holds its weights or their scales in fp16."""
    if kind in ("f32", "bf16"):
        return
    largest = float(max(weights.max(), -weights.min()))
    if largest > FP16_MAX:
        raise CheckpointError(
            f"{name} contains {largest:.6g}, beyond fp16's {FP16_MAX:.0f}; convert to gguf:bf16 instead"
        )


def _unfit_rows(backbone: Backbone, kind: str) -> list[int]:
    """The widths that blocks of this kind do not divide, or that would have to be padded too far."""
    block, stored = _block(kind).weights, stored_shape(backbone, [kind])
    widths = {backbone.hidden: stored.hidden, backbone.intermediate: stored.intermediate}
    return [width for width, wide in widths.items() if wide % block or wide > MOST_PADDING * width]


def _weights_bytes(checkpoint: Weights, kind: str) -> int:
    shape, types = stored_shape(checkpoint.backbone, [kind]), tensor_types(checkpoint, kind)
    return sum(_bytes(tensor_shape(name, shape), tensor_type) for name, tensor_type in types.items())


def _bytes(shape: tuple[int, ...], tensor_type: str) -> int:
    block = _block(tensor_type)
    return int(np.prod(shape, dtype=np.int64)) // block.weights * block.size


def _block(kind: str) -> BlockType:
    return TYPES[RECIPES.get(kind, kind)]


def ggml_type(gguf: Any, kind: str) -> Any:
    """gguf-py's constant for a type's name."""
    return gguf.GGMLQuantizationType[kind.upper()]


def _gguf() -> Any:
    try:
        return import_module("gguf")
    except ImportError as error:
        raise MissingDependencyError("gguf", "convert", "a gguf target") from error
