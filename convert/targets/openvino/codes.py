"""The codes and scales of a compressed graph's matrices: replaced by those that GPTQ chooses, and their types read.

nncf leaves a constant of codes, converted and multiplied by a constant of scales, before each matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c2llm_lite.engines.openvino.settings import WEIGHT_GROUP
from c2llm_lite.pma import Array

from ...calibrate.gptq import round_matrix
from ...calibrate.grids import GRIDS, Grid
from ...calibrate.layers import Calibration, round_in_order
from ...calibrate.resume import Parts
from ...checkpoint import Weights, backbone_names
from . import value_biases

INT4 = GRIDS["q4_0"]  # the levels of nncf's INT4_SYM, in groups of WEIGHT_GROUP
INT8 = GRIDS["q8_0"].levels  # of INT8_SYM, with one scale for a whole row
GPTQ_BLOCK = 32  # columns that it rounds before it makes up for them in the rest, where a row has one scale
TINY = 6e-8  # fp16's smallest: the scale of a row of zeros


def write_codes(checkpoint: Weights, graph: Any, kind: str, calibration: Calibration) -> None:
    """Replace the codes and scales of a graph in int8 or int4 by those that GPTQ chooses."""
    import openvino

    scaled = {f"{module}.weight": behind(product, "Multiply") for module, product in products(graph)}
    biases = value_biases.moved(graph)

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
        module = name.removesuffix(".weight")
        if module in biases:  # the texts saw the value bias through the weights as rounded
            constant = value_biases.passed_on(checkpoint, module, _decoded(codes, scales, kind))
            (reader,) = biases[module].output(0).get_target_inputs()
            replace(reader, constant, constant.shape, openvino.Type.f32)

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


def _decoded(codes: NDArray[Any], scales: NDArray[Any], kind: str) -> Array:
    """The matrix (rows, width) that `placing` puts into the graph."""
    if kind == "int4":
        nibbles = np.stack([codes & 15, codes >> 4], axis=1).reshape(*scales.shape[:2], WEIGHT_GROUP)
        codes = (nibbles ^ 8).astype(np.int8) - 8
    found: Array = (codes * scales.astype(np.float32)).reshape(len(scales), -1)
    return found


def tensor_types(checkpoint: Weights, graph: Any) -> dict[str, str]:
    """Each tensor's type as the graph holds it, by OpenVINO's names (i8, i4, bf16, f32).

    The exporter names products and biases after the checkpoint; it folds the norms' gains, in fp32 and without a name,
    and leaves out a bias of fp32 zeros.
    """
    held = {
        op.get_friendly_name().removeprefix("self."): op.get_element_type().to_string()
        for op in graph.get_ops()
        if op.get_type_name() == "Constant" and op.get_friendly_name().endswith(".bias")
    }
    for module, product in products(graph):
        held[f"{module}.weight"] = behind(product, "Constant").get_output_element_type(0).to_string()
    return {
        name: held[name] if name.endswith("_proj.weight") else held.get(name, "f32")
        for name in backbone_names(checkpoint)
    }


def products(graph: Any) -> Iterator[tuple[str, Any]]:
    """Each matrix product, under the name of the module that it was."""
    for op in graph.get_ops():
        if op.get_type_name() == "MatMul":
            yield op.get_friendly_name().partition("/")[0].removeprefix("__module."), op


def behind(product: Any, kind: str) -> Any:
    """The node of that type on the way from a product's weights, through conversion and scales, to their constant."""
    node = product.input_value(1).get_node()
    while node.get_type_name() != kind and node.get_input_size():
        node = node.input_value(0).get_node()
    return node
