"""Times ways to compute a layer's int8 products, with the CPU's flags: candidates for CPUs with AMX.

    python -m c2llm_lite.benchmarks.lab.int8_products

The products of one layer of C2LLM-0.5B's shape over one pass's tokens, with random weights: speed, and how near each
way comes to fp32. openvino: as openvino:int8 (activations in groups) and openvino:int8-static have them; torch:
activations with one scale a token. Each way gets fp32 activations and gives fp32 products, so rounding is timed too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import typer

from c2llm_lite import machine
from c2llm_lite.engines.openvino import PASS_TOKENS, process_core
from c2llm_lite.pma import Array
from c2llm_lite.verify import fidelity

from ..bench.hardware import Stolen, stamp
from ..bench.results_file import write_results
from .interleaved import seconds_in_turns, spread
from .random_checkpoint import C2LLM_05B

GROUP = 128
ROUNDS = 20
LARGEST = 127  # of int8
REACH = 5  # of random activations, where they have a fixed scale
MIDDLE = 128  # what a code of 0 is among unsigned ones
RESULTS = Path(__file__).parents[1] / "results" / "int8_products.json"
# (tokens, columns) float32 -> (tokens, rows) float32.
Product = Callable[[Array], Array]


def main() -> None:
    """Time each way and write the results."""
    import torch

    torch.set_num_threads(machine.cores())
    random, stolen = np.random.default_rng(0), Stolen()
    shapes = layer_shapes()
    weights = [random.standard_normal(shape, np.float32) for shape in shapes]
    given = {
        columns: random.standard_normal((PASS_TOKENS, columns), np.float32)
        for columns in {columns for _, columns in shapes}
    }
    ways = {name: [made(matrix) for matrix in weights] for name, made in WAYS.items()}

    def layer(products: list[Product]) -> Callable[[], None]:
        def run() -> None:
            for product, (_, columns) in zip(products, shapes, strict=True):
                product(given[columns])

        return run

    seconds = seconds_in_turns({name: layer(products) for name, products in ways.items()}, ROUNDS)
    last = given[shapes[-1][1]]
    operations = 2 * PASS_TOKENS * sum(rows * columns for rows, columns in shapes)
    rows: dict[str, dict[str, Any]] = {
        name: {
            "operations_per_second_1e9": spread([operations / 1e9 / one for one in taken]),
            "cosine": round(fidelity(ways[name][-1](last), last @ weights[-1].T).mean, 5),
        }
        for name, taken in seconds.items()
    }
    result = {"ways": rows, "tokens": PASS_TOKENS, "rounds": ROUNDS, "stolen": stolen.share(), "on": stamp()}
    write_results(RESULTS, result)
    for name, row in rows.items():
        print(f"{name}: {row['operations_per_second_1e9']['median']:.0f} 1e9 operations a second, {row['cosine']}")


def layer_shapes() -> list[tuple[int, int]]:
    """(rows, columns) of one layer's matrices: q, k, v, o, gate, up, down."""
    hidden, wide = C2LLM_05B.hidden, C2LLM_05B.intermediate
    narrow = C2LLM_05B.kv_heads * C2LLM_05B.head_dim
    return [(hidden, hidden), *2 * [(narrow, hidden)], (hidden, hidden), *2 * [(wide, hidden)], (hidden, wide)]


def torch_float(kind: str) -> Callable[[Array], Product]:
    """torch's own product of this dtype."""

    def made(weights: Array) -> Product:
        import torch

        matrix = torch.from_numpy(weights).to(getattr(torch, kind))

        def product(x: Array) -> Array:
            found: Array = (torch.from_numpy(x).to(matrix.dtype) @ matrix.T).float().numpy()
            return found

        return product

    return made


def torch_int_mm(weights: Array) -> Product:
    """torch._int_mm: int8 by int8 to int32."""
    import torch

    codes, scales = _rounded(weights)

    def product(x: Array) -> Array:
        given, of_tokens = _rounded(x)
        found: Array = (torch._int_mm(given, codes.T) * of_tokens * scales.T).numpy()
        return found

    return product


def torch_qlinear(weights: Array) -> Product:
    """oneDNN's quantized product, as torch's own quantization calls it: unsigned activations, packed weights."""
    import torch

    codes, scales = _rounded(weights)
    packed = torch.ops.onednn.qlinear_prepack(codes, [PASS_TOKENS, weights.shape[1]])
    zeros = torch.zeros(len(weights), dtype=torch.int64)
    rest: tuple[Any, ...] = (packed, scales[:, 0], zeros, None, 1.0, 0, torch.float32, "none", [], "")

    def product(x: Array) -> Array:
        given = torch.from_numpy(x)
        of_tokens = given.abs().amax(1, keepdim=True) / LARGEST
        # Signed activations would run too, on a reference kernel a thousand times slower.
        unsigned = ((given / of_tokens).round() + MIDDLE).to(torch.uint8)
        found: Array = (torch.ops.onednn.qlinear_pointwise(unsigned, 1.0, MIDDLE, *rest) * of_tokens).numpy()
        return found

    return product


def openvino_dynamic(weights: Array) -> Product:
    """Activations in groups, each scaled by its largest."""
    return _compiled(weights, lambda given: given, GROUP)


def openvino_static(weights: Array) -> Product:
    """Activations on a scale that was fixed before."""
    from openvino import opset13

    low, high = opset13.constant(np.float32(-REACH)), opset13.constant(np.float32(REACH))

    def fixed(given: Any) -> Any:
        return opset13.fake_quantize(given, low, high, low, high, 256)

    return _compiled(weights, fixed, 0)


WAYS: dict[str, Callable[[Array], Product]] = {
    "torch fp32": torch_float("float32"),
    "torch bf16": torch_float("bfloat16"),
    "torch._int_mm": torch_int_mm,
    "torch onednn.qlinear_pointwise": torch_qlinear,
    "openvino:int8": openvino_dynamic,
    "openvino:int8-static": openvino_static,
}


def _rounded(given: Array) -> tuple[Any, Any]:
    """int8 codes, and each row's scale, (rows, 1)."""
    import torch

    values = torch.from_numpy(given)
    scales = values.abs().amax(1, keepdim=True) / LARGEST
    return (values / scales).round().to(torch.int8), scales


def _compiled(weights: Array, activations: Callable[[Any], Any], group: int) -> Product:
    import openvino
    from openvino import opset13 as ops

    scales = np.abs(weights).max(1, keepdims=True) / LARGEST
    codes = ops.constant(np.rint(weights / scales).astype(np.int8))
    given = ops.parameter([-1, weights.shape[1]], np.float32)
    matrix = ops.multiply(ops.convert(codes, np.float32), ops.constant(scales))
    compiled = process_core().compile_model(
        openvino.Model([ops.matmul(activations(given), matrix, False, True)], [given]),
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": group,
            "INFERENCE_NUM_THREADS": machine.cores(),
        },
    )
    request = compiled.create_infer_request()

    def product(x: Array) -> Array:
        request.infer([x])
        found: Array = request.get_output_tensor(0).data
        return found

    return product


if __name__ == "__main__":
    typer.run(main)
