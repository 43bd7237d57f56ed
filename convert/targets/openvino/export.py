"""Target openvino:KIND: the backbone as an OpenVINO graph that optimum-intel exports and nncf compresses.

A C2LLM checkpoint has no class of its own in transformers, so a plain Qwen2Model gets the checkpoint's tensors, without
the token embeddings: the graph takes their rows (`inputs_embeds`), which the engine reads from token_embeddings.npy.
optimum's export of a decoder "with past", made stateful, is the form from which OpenVINO's paged-attention
transformation starts; the engine applies it, so that texts of any length lie end to end in one pass.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from c2llm_lite.engines.openvino import GRAPH, PASS_TOKENS, WEIGHT_GROUP
from c2llm_lite.errors import CheckpointError, MissingDependencyError
from c2llm_lite.pma import Array

from ...calibrate.layers import Calibration, round_in_order
from ...calibrate.gptq import round_matrix
from ...calibrate.grids import GRIDS, Grid
from ...checkpoint.safetensors_file import Dtype, Stored, widen
from ...calibrate.resume import Parts

if TYPE_CHECKING:
    from c2llm_lite.bundle import Backbone

    from ...checkpoint import Checkpoint

KINDS = ("int8", "int8-static", "int4", "fp32")
# At most, taken evenly from those given, which stand in an order: each goes through the graph more than once, alone.
CALIBRATION_TEXTS = 300
# A few inputs of these are far beyond the others, to which one fixed scale would leave little.
DYNAMIC = "mlp.down_proj"
INT4 = GRIDS["q4_0"]  # the levels of nncf's INT4_SYM, in groups of WEIGHT_GROUP
INT8 = GRIDS["q8_0"].levels  # of INT8_SYM, with one scale for a whole row
GPTQ_BLOCK = 32  # columns that it rounds before it makes up for them in the rest, where a row has one scale
TINY = 6e-8  # fp16's smallest: the scale of a row of zeros
SCALE_BITS = 16  # nncf's scales are fp16: one a row in int8, one a group in int4
VECTOR_BITS = 32
# Measured: a process that has imported openvino 2026.4 and compiled a graph whose weights are still on the disk.
LIBRARIES = 142 << 20


class _BrokenTorchvisionError(MissingDependencyError):
    """optimum-intel asks for torchvision, which it does not use here; the one on PyPI does not fit a CPU-only torch."""

    def __init__(self, reason: str) -> None:
        ImportError.__init__(
            self,
            f"the installed torchvision does not fit the installed torch ({reason}), and transformers cannot be "
            "imported beside it: pip uninstall torchvision (converting does not need it)",
            name="torchvision",
        )


def kinds(checkpoint: Checkpoint) -> dict[str, float]:
    """The kinds that this backbone's widths can hold, each with its true bits a weight, scales and vectors included."""
    shapes = [checkpoint.shape(name) for name in _names(checkpoint)]
    weights = sum(int(np.prod(shape)) for shape in shapes)
    held = [kind for kind in KINDS if kind != "int4" or _unfit_width(checkpoint.backbone) is None]
    return {kind: sum(_bits(shape, kind) for shape in shapes) / weights for kind in held}


def write_backbone(
    checkpoint: Checkpoint,
    folder: Path,
    kind: str,
    *,
    calibration: Calibration | None = None,
) -> dict[str, str]:
    """Write openvino_model.xml and .bin into `folder`; returns each backbone tensor's type by its checkpoint's name.

    int8: one symmetric scale a row. int8-static: the same, and one fixed scale for the inputs of each product but
    DYNAMIC's, by the range that they have in the calibration's texts (nncf's quantize, SmoothQuant included).
    int4: one symmetric scale for each 32 weights of a row. Vectors stay fp32.
    calibration: int8-static's texts; for int8 and int4, whose weights are then moved (calibration.py) and rounded by
    what that does to their outputs (gptq.py), in place of each to its nearest level.

    Raises CheckpointError for a kind that does not exist or that a width cannot hold, or NaN or infinity in a weight;
    MissingDependencyError without optimum-intel and nncf, or beside a torchvision that does not fit.
    """
    check_kind(checkpoint, kind)
    if calibration is not None and kind == "fp32":
        raise ValueError("openvino:fp32 does not take calibration texts: nothing is rounded")
    if calibration is None and kind == "int8-static":
        raise ValueError(
            "openvino:int8-static fixes the scales of activations by texts: give --calibrate FILE, or default"
        )
    _check_libraries()
    import openvino

    with _quiet(), tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as temporary:
        exported = Path(temporary) / GRAPH
        _export(checkpoint, exported)
        graph = openvino.Core().read_model(exported)
        if kind != "fp32":
            graph = _compress(checkpoint, graph, kind, calibration)
        _name_by_place(graph)
        openvino.save_model(graph, folder / GRAPH, compress_to_fp16=False)
        types = _tensor_types(checkpoint, graph)
        del graph  # it maps the temporary file
    return types


def memory(checkpoint: Checkpoint, kind: str) -> int:
    """Bytes that a process running this backbone takes: libraries, weights, and one pass of PASS_TOKENS tokens.

    Weights count twice: the file is mapped, and the CPU plugin keeps them in its own layout (911 MiB were measured for
    the 0.5B's shape in int8, and this gives 880).
    """
    backbone = checkpoint.backbone
    weights = sum(_bits(checkpoint.shape(name), kind) for name in _names(checkpoint)) // 8
    cache = 2 * 4 * backbone.layers * backbone.kv_heads * backbone.head_dim
    # The feed-forward's gate, up and product, and a few states of each token, in fp32.
    buffers = 4 * (3 * backbone.intermediate + 8 * backbone.hidden)
    return LIBRARIES + 2 * weights + PASS_TOKENS * (cache + buffers)


def check_kind(checkpoint: Checkpoint, kind: str) -> None:
    """Raise CheckpointError unless every matrix of this backbone can be held in `kind`."""
    if kind not in KINDS:
        raise CheckpointError(
            f"openvino:{kind} is not a type this package writes; choose one of {', '.join(kinds(checkpoint))}"
        )
    unfit = _unfit_width(checkpoint.backbone)
    if kind == "int4" and unfit is not None:
        raise CheckpointError(
            f"openvino:int4 has one scale for each {WEIGHT_GROUP} weights, which does not divide this backbone's "
            f"rows of {unfit}: choose openvino:int8"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' accounts of their own work off the terminal: none says anything about the result.

    transformers names a loss that is not used and an argument that optimum-intel still gives; OpenVINO's front end
    calls an attempt that it makes again another way an error; nncf prints a table.
    """
    loggers = {
        logging.getLogger("transformers"): logging.ERROR,
        logging.getLogger("nncf"): logging.WARNING,
        logging.getLogger("openvino.frontend.pytorch.utils"): logging.CRITICAL,
    }
    before = {logger: logger.level for logger in loggers}
    for logger, level in loggers.items():
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


def _export(checkpoint: Checkpoint, path: Path) -> None:
    """optimum-intel's export of a stateful Qwen2 decoder that takes rows of embeddings."""
    convert = import_module("optimum.exporters.openvino.convert")
    configs = import_module("optimum.exporters.openvino.model_configs")
    model = _model(checkpoint)
    task = "feature-extraction"
    base = configs.Qwen2OpenVINOConfig(model.config, task=task, use_past=True, use_past_in_inputs=True)
    half = next(model.parameters()).element_size() == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, about branches that this graph does not take
        convert.export_pytorch(
            model,
            configs.LMInputEmbedsConfigHelper(base, task=task),
            path,
            stateful=True,
            patch_16bit_model=half,
            library_name="transformers",
        )


def _model(checkpoint: Checkpoint) -> Any:
    """transformers' Qwen2Model over the checkpoint's tensors: bf16 without a copy, anything else in fp32."""
    import torch
    from transformers import Qwen2Model

    from c2llm_lite.engines.torch.backbone import qwen2_config

    backbone = checkpoint.backbone
    names = _names(checkpoint)
    stored = {name: checkpoint.stored(name) for name in names}
    half = all(dtype == "BF16" for _, dtype in stored.values())
    config = qwen2_config(
        backbone,
        vocab_size=1,  # the graph takes rows of embeddings
        attn_implementation="sdpa",
        dtype=torch.bfloat16 if half else torch.float32,
    )

    def tensor(values: Stored, dtype: Dtype) -> torch.Tensor:
        if half:
            bits = np.array(values)  # torch takes no read-only array
            return torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(np.array(widen(values, dtype)))

    with torch.device("meta"):
        model = Qwen2Model(config)
    weights = {name: tensor(*stored.pop(name)) for name in names}  # never all of them twice
    weights["embed_tokens.weight"] = torch.zeros((1, backbone.hidden), dtype=weights["norm.weight"].dtype)
    model.load_state_dict(weights, assign=True)
    # A buffer that follows from the config; on the meta device it has no values.
    model.rotary_emb = type(model.rotary_emb)(config)
    return model.eval()


def _compress(checkpoint: Checkpoint, graph: Any, kind: str, calibration: Calibration | None) -> Any:
    nncf = import_module("nncf")
    if kind == "int8-static":
        assert calibration is not None  # write_backbone's check
        chosen = calibration.texts[:: -(-len(calibration.texts) // CALIBRATION_TEXTS)]
        # The default, the mean of the texts' ranges, cuts off what a text has beyond it.
        whole_range = import_module("nncf.quantization.range_estimator").RangeEstimatorParametersSet.MINMAX
        graph = nncf.quantize(
            graph,
            _calibration(checkpoint, chosen),
            subset_size=len(chosen),
            preset=nncf.QuantizationPreset.PERFORMANCE,
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(
                names=[product.get_friendly_name() for module, product in _products(graph) if module.endswith(DYNAMIC)],
                # The paged-attention transformation does not find an attention whose inputs are quantised.
                types=["ScaledDotProductAttention"],
            ),
            advanced_parameters=nncf.AdvancedQuantizationParameters(activations_range_estimator_params=whole_range),
        )
    modes = nncf.CompressWeightsMode
    if kind.startswith("int8"):
        graph = nncf.compress_weights(graph, mode=modes.INT8_SYM)
    else:
        graph = nncf.compress_weights(graph, mode=modes.INT4_SYM, group_size=WEIGHT_GROUP, ratio=1.0, all_layers=True)
    if calibration is not None and kind != "int8-static":
        _round_again(checkpoint, graph, kind, calibration)
    return graph


def _round_again(checkpoint: Checkpoint, graph: Any, kind: str, calibration: Calibration) -> None:
    """Replace the codes and scales of a graph in int8 or int4 by those that GPTQ chooses."""
    import openvino

    scaled = {f"{module}.weight": _behind(product, "Multiply") for module, product in _products(graph)}

    def replace(at: Any, values: NDArray[Any], shape: tuple[int, ...], dtype: Any) -> None:
        tensor = openvino.Tensor(np.ascontiguousarray(values), openvino.Shape(shape), dtype)
        constant = openvino.op.Constant(tensor, shared_memory=False)
        constant.set_friendly_name(at.get_source_output().get_node().get_friendly_name())
        at.replace_source_output(constant.output(0))

    def placing(name: str, parts: Parts) -> None:
        multiply, codes, scales = scaled[name], parts["codes"], parts["scales"]
        if kind == "int8":
            shape, dtype = codes.shape, openvino.Type.i8
        else:
            shape, dtype = (*scales.shape[:2], WEIGHT_GROUP), openvino.Type.i4
        replace(multiply.input_value(0).get_node().input(0), codes, shape, dtype)
        replace(multiply.input(1), scales, scales.shape, openvino.Type.f16)

    def int4(name: str, weights: Array, moments: Array) -> tuple[Array, Parts]:
        codes, scales = round_matrix(weights, moments, INT4)
        low, high = (codes ^ 8).reshape(-1, 2).T  # level - 8 in 4 bits' two's complement; two to a byte
        return INT4.decode(codes, scales), {"codes": low | high << 4, "scales": scales[..., None]}

    def int8(name: str, weights: Array, moments: Array) -> tuple[Array, Parts]:
        grid = Grid(INT8, math.gcd(GPTQ_BLOCK, weights.shape[1]))
        rows = np.maximum(np.abs(weights).max(axis=1, keepdims=True) / INT8[-1], TINY).astype(np.float16)
        codes, scales = round_matrix(weights, moments, grid, np.repeat(rows, weights.shape[1] // grid.block, axis=1))
        return grid.decode(codes, scales), {"codes": INT8[codes].astype(np.int8), "scales": rows}

    round_in_order(checkpoint, calibration, int8 if kind == "int8" else int4, placing)


def _calibration(checkpoint: Checkpoint, texts: Sequence[Sequence[int]]) -> Any:
    """The texts as the exported graph takes them, one at a time."""
    table, dtype = checkpoint.stored("embed_tokens.weight")

    def inputs(ids: Sequence[int]) -> dict[str, Any]:
        return {
            "inputs_embeds": widen(table[np.asarray(ids)], dtype)[None],  # (1, tokens, hidden)
            "attention_mask": np.ones((1, len(ids)), np.int64),
            "position_ids": np.arange(len(ids), dtype=np.int64)[None],
            "beam_idx": np.zeros(1, np.int32),
        }

    return import_module("nncf").Dataset(list(texts), inputs)


def _name_by_place(graph: Any) -> None:
    """Name anew what OpenVINO numbers by all that the process has made: the same conversion gives the same bytes."""
    graph.set_friendly_name("qwen2")
    for place, op in enumerate(graph.get_ordered_ops()):
        if re.fullmatch(r"[A-Za-z]+_\d+", op.get_friendly_name()):
            op.set_friendly_name(f"{op.get_type_name()}_{place}")


def _tensor_types(checkpoint: Checkpoint, graph: Any) -> dict[str, str]:
    """Each tensor's type as the graph holds it, by OpenVINO's names (i8, i4, bf16, f32).

    The exporter names products and biases after the checkpoint; it folds the norms' gains, in fp32 and without a name,
    and leaves out a bias of fp32 zeros.
    """
    held = {
        op.get_friendly_name().removeprefix("self."): op.get_element_type().to_string()
        for op in graph.get_ops()
        if op.get_type_name() == "Constant" and op.get_friendly_name().endswith(".bias")
    }
    for module, product in _products(graph):
        held[f"{module}.weight"] = _behind(product, "Constant").get_output_element_type(0).to_string()
    return {name: held[name] if name.endswith("_proj.weight") else held.get(name, "f32") for name in _names(checkpoint)}


def _products(graph: Any) -> Iterator[tuple[str, Any]]:
    """Each matrix product, under the name of the module that it was."""
    for op in graph.get_ops():
        if op.get_type_name() == "MatMul":
            yield op.get_friendly_name().partition("/")[0].removeprefix("__module."), op


def _behind(product: Any, kind: str) -> Any:
    """The node of that type on the way from a product's weights, through conversion and scales, to their constant."""
    node = product.input_value(1).get_node()
    while node.get_type_name() != kind and node.get_input_size():
        node = node.input_value(0).get_node()
    return node


def _check_libraries() -> None:
    if importlib.util.find_spec("torchvision") is not None:
        try:
            import_module("torchvision")
        except Exception as error:  # a missing operator is a RuntimeError, a missing library an OSError
            raise _BrokenTorchvisionError(str(error)) from error
    try:
        for name in ("openvino", "torch", "nncf", "optimum.exporters.openvino"):
            import_module(name)
    except ImportError as error:
        raise MissingDependencyError("optimum-intel and nncf", "convert-openvino", "an openvino target") from error


def _names(checkpoint: Checkpoint) -> list[str]:
    """The backbone's tensors, without the token embeddings and a language model's head."""
    return [name for name in checkpoint.names() if name.startswith("layers.") or name == "norm.weight"]


def _unfit_width(backbone: Backbone) -> int | None:
    """A row width that int4's groups do not divide."""
    return next((width for width in (backbone.hidden, backbone.intermediate) if width % WEIGHT_GROUP), None)


def _bits(shape: tuple[int, ...], kind: str) -> int:
    weights = int(np.prod(shape))
    if len(shape) == 1 or kind == "fp32":
        return weights * VECTOR_BITS
    return (
        weights * 8 + shape[0] * SCALE_BITS
        if kind.startswith("int8")
        else weights * 4 + weights // WEIGHT_GROUP * SCALE_BITS
    )
