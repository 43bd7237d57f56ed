"""Target openvino:KIND: the backbone as an OpenVINO graph that optimum-intel exports and nncf compresses.

A C2LLM checkpoint has no class of its own in transformers, so a plain Qwen2Model gets the checkpoint's tensors, without
the token embeddings: the graph takes their rows (`inputs_embeds`), which the engine reads from token_embeddings.npy.
optimum's export of a decoder "with past", made stateful, is the form from which OpenVINO's paged-attention
transformation starts; the engine applies it, so that texts of any length lie end to end in one pass.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from c2llm_lite.bundle import OPENVINO_GRAPH, Backbone
from c2llm_lite.engines.openvino import PASS_TOKENS
from c2llm_lite.engines.openvino.settings import WEIGHT_GROUP
from c2llm_lite.errors import CheckpointError

from ...calibrate.layers import Calibration
from ...checkpoint import Weights, backbone_names
from .. import registry
from .codes import products, tensor_types
from .compress import compress
from .export import check_libraries, export, quiet, save
from .stops import stops_come_through
from .value_biases import move_value_biases

SCALE_BITS = 16  # nncf's scales are fp16: one per row in int8, one a group in int4
VECTOR_BITS = 32
# Measured with openvino 2026.4: imported, and a graph compiled whose weights are still on the disk. 2026.2 takes less.
LIBRARIES = 142 << 20


def kinds(checkpoint: Weights) -> dict[str, float]:
    """The kinds that this backbone's widths can hold, each with its true bits a weight, scales and vectors included."""
    shapes = [checkpoint.shape(name) for name in backbone_names(checkpoint)]
    weights = sum(int(np.prod(shape)) for shape in shapes)
    held = [kind for kind in registry.kinds("openvino") if kind != "int4" or _unfit_width(checkpoint.backbone) is None]
    return {kind: sum(_bits(shape, kind) for shape in shapes) / weights for kind in held}


def write_backbone(
    checkpoint: Weights,
    folder: Path,
    kind: str,
    *,
    calibration: Calibration | None = None,
) -> dict[str, str]:
    """Write openvino_model.xml and .bin into `folder`; returns each backbone tensor's type by its checkpoint's name.

    int8: one symmetric scale a row. int8-static: the same, and one fixed scale for the inputs of each product but
    DYNAMIC's, by the range that they have in the calibration's texts (nncf's quantize, SmoothQuant included).
    int4: one symmetric scale for each 32 weights of a row. Vectors stay fp32.
    calibration: int8-static's texts; for int8 and int4, whose weights are then moved (layers.py) and rounded by
    what that does to their outputs (gptq.py), in place of each to its nearest level.

    Raises CheckpointError for a kind that a width cannot hold, or NaN or infinity in a weight; MissingDependencyError
    without optimum-intel and nncf, or beside a torchvision that does not fit.
    """
    check_kind(checkpoint, kind)
    check_libraries()
    import openvino

    with quiet(), stops_come_through(), tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as temporary:
        exported = Path(temporary) / OPENVINO_GRAPH
        export(checkpoint, exported)
        graph = openvino.Core().read_model(exported)
        move_value_biases(checkpoint, dict(products(graph)))
        if kind != "fp32":
            graph = compress(checkpoint, graph, kind, calibration)
        save(graph, folder / OPENVINO_GRAPH)
        types = tensor_types(checkpoint, graph)
        del graph  # it maps the temporary file
    return types


def memory(checkpoint: Weights, kind: str) -> int:
    """Bytes that a process running this backbone takes: libraries, weights, and one pass of PASS_TOKENS tokens.

    Weights count twice: the file is mapped, and the CPU plugin keeps them in its own layout (911 MiB were measured for
    the 0.5B's shape in int8, and this gives 880).
    """
    backbone = checkpoint.backbone
    weights = sum(_bits(checkpoint.shape(name), kind) for name in backbone_names(checkpoint)) // 8
    cache = 2 * 4 * backbone.layers * backbone.kv_heads * backbone.head_dim
    # The feed-forward's gate, up and product, and a few states of each token, in fp32.
    buffers = 4 * (3 * backbone.intermediate + 8 * backbone.hidden)
    return LIBRARIES + 2 * weights + PASS_TOKENS * (cache + buffers)


def check_kind(checkpoint: Weights, kind: str) -> None:
    """Raise CheckpointError unless every matrix of this backbone can be held in `kind`."""
    unfit = _unfit_width(checkpoint.backbone)
    if kind == "int4" and unfit is not None:
        raise CheckpointError(
            f"openvino:int4 has one scale for each {WEIGHT_GROUP} weights, which does not divide this backbone's "
            f"rows of {unfit}; choose openvino:int8"
        )


def _unfit_width(backbone: Backbone) -> int | None:
    """A row width that int4's groups do not divide."""
    return next((width for width in (backbone.hidden, backbone.intermediate) if width % WEIGHT_GROUP), None)


def _bits(shape: tuple[int, ...], kind: str) -> int:
    """Bits that a tensor of this shape takes, scales included."""
    weights, bits = int(np.prod(shape)), registry.find("openvino", kind).bits
    if len(shape) == 1 or bits == VECTOR_BITS:
        return weights * VECTOR_BITS
    scales = shape[0] if bits == 8 else weights // WEIGHT_GROUP
    return weights * bits + scales * SCALE_BITS
