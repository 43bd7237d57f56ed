"""Products whose int8 inputs and weights are all as large as they can be, divided by what they should be.

    python -m c2llm_lite.benchmarks.lab.emulation.saturation

An x86 CPU without VNNI multiplies pairs of unsigned and signed bytes and adds them in 16 bits, which 255 * 127 twice
overflows: such a kernel gives 0.506 here, a right one 1.000. OpenVINO's products have the shapes of openvino:int8, int4
and int8-static; llama.cpp's are the dot products of its blocks.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from c2llm_lite.engines.openvino import process_core

ROWS, COLUMNS, TOKENS = 64, 256, 8
BLOCK = 32  # of ggml's types


def openvino_products() -> dict[str, float]:
    """The ratio of each kind of product, the one furthest from 1 of all elements."""
    import openvino
    from openvino import opset13

    x = np.ones((TOKENS, COLUMNS), np.float32)

    def ratio(weights: Any, activations: Callable[[Any], Any], group: int) -> float:
        given = opset13.parameter([-1, COLUMNS], np.float32)
        product = opset13.matmul(activations(given), weights, False, True)
        compiled = process_core().compile_model(
            openvino.Model([product], [given]),
            "CPU",
            {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": group},
        )
        found = np.asarray(compiled(x)[0]) / COLUMNS
        return float(found.flat[np.abs(found - 1).argmax()])

    def scaled(kind: Any, largest: int, shape: tuple[int, ...]) -> Any:
        codes = openvino.op.Constant(kind, openvino.Shape([ROWS, *shape]), np.full(ROWS * COLUMNS, largest).tolist())
        scales = opset13.constant(np.full((ROWS, *shape[:-1], 1), 1 / largest, np.float32))
        weights = opset13.multiply(opset13.convert(codes, np.float32), scales)
        return opset13.reshape(weights, [ROWS, COLUMNS], False) if len(shape) > 1 else weights

    def fixed(given: Any) -> Any:
        low, high = opset13.constant(np.float32(0)), opset13.constant(np.float32(1))
        return opset13.fake_quantize(given, low, high, low, high, 256)

    int8 = scaled(openvino.Type.i8, 127, (COLUMNS,))
    int4 = scaled(openvino.Type.i4, 7, (COLUMNS // BLOCK, BLOCK))
    return {
        "openvino int8, activations in groups of 128": ratio(int8, lambda given: given, 128),
        "openvino int4, activations in groups of 32": ratio(int4, lambda given: given, BLOCK),
        "openvino int8, activations at a fixed scale": ratio(int8, fixed, 0),
    }


def llama_cpp_products() -> dict[str, float]:
    """The ratio of one block's dot product with a block of q8_0."""
    import llama_cpp

    # Loaded already, with what it needs.
    library = ctypes.CDLL(str(next((Path(llama_cpp.__file__).parent / "lib").glob("libggml-cpu.*"))))
    library.ggml_cpu_init()  # makes the table of float16
    one = np.float16(1).tobytes()
    largest = np.full(BLOCK, 127, np.int8).tobytes()
    blocks = {"q8_0": (one + largest, 127), "q4_0": (one + bytes(BLOCK // 2), -8), "iq4_nl": (one + bytes(16), -127)}
    ratios = {}
    for kind, (block, value) in blocks.items():
        found = ctypes.c_float()
        size = ctypes.c_size_t(0)
        dot = library[f"ggml_vec_dot_{kind}_q8_0"]
        # Four blocks: some kernels take several at a time.
        dot(4 * BLOCK, ctypes.byref(found), size, 4 * block, size, 4 * (one + largest), size, 1)
        ratios[f"llama.cpp {kind}"] = found.value / (4 * BLOCK * value * 127)
    return ratios


if __name__ == "__main__":
    print(json.dumps({name: round(ratio, 4) for name, ratio in (openvino_products() | llama_cpp_products()).items()}))
