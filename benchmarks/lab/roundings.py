"""Measures the ways to round to 4 bits that calibration rejected, each alone, on the stand-in's development pairs.

    python -m c2llm_lite.benchmarks.lab.roundings CHECKPOINT

In one type of gguf, with the head as it was and recovered: nearest levels; ggml's own search weighed by an importance
matrix (the mean squared inputs of each column); GPTQ of each matrix on full-precision inputs, no matrix moved; nearest
levels, and what --calibrate does, of a backbone whose residual stream is rotated (rotated_checkpoint.py).
Beside calibrate/layers.py's rows for the same target, pairs and texts.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import typer
from numpy.typing import NDArray

from c2llm_lite.bundle import GGUF, Bundle, seal
from c2llm_lite.convert import calibration_ids, convert, reference
from c2llm_lite.convert.calibrate import texts as calibration_texts
from c2llm_lite.convert.calibrate.gptq import round_matrix
from c2llm_lite.convert.calibrate.grids import GRIDS, encode
from c2llm_lite.convert.calibrate.layers import Calibration
from c2llm_lite.convert.calibrate.recovery import recover
from c2llm_lite.convert.calibrate.smoothing import SHARED_INPUTS
from c2llm_lite.convert.checkpoint import Checkpoint, open_checkpoint
from c2llm_lite.convert.targets.gguf import Quantizer
from c2llm_lite.engines.llama_cpp.tensor_names import LAYER_NAMES
from c2llm_lite.pma import AffineMap, Array
from c2llm_lite.progress import bar

from ..bench.hardware import stamp
from ..bench.pairs import DEVELOPMENT, list_sha256
from ..bench.results_file import write_results
from .calibration import PAIRS, both_heads, development_ids, kept_map
from .rotated_checkpoint import write_rotated

RESULTS = Path(__file__).parents[1] / "results" / "roundings.json"
KIND = "iq4_nl"
TARGET = f"gguf:{KIND}"
# Each matrix, and under whose name reference.states shows its inputs.
SHOWN_AS = {reader: first for first, (readers, _) in SHARED_INPUTS.items() for reader in readers}


def main(source: str) -> None:
    """Score every way on the checkpoint SOURCE, calibrated on the default texts, and keep the rows."""
    checkpoint = open_checkpoint(source)
    given = calibration_texts.default()
    ids = development_ids(checkpoint)
    full = reference.vectors(checkpoint, ids)
    result: dict[str, Any] = {
        "target": TARGET,
        "texts": sum(map(len, given.values())),
        "pairs": {"list": DEVELOPMENT.name, "sha256": list_sha256(DEVELOPMENT), "used": PAIRS},
        "rows": [],
    }
    for row in measured(checkpoint, source, given, ids, full):
        print(json.dumps(row))
        result["rows"].append(row)
    write_results(RESULTS, result | {"on": stamp()})


def measured(
    checkpoint: Checkpoint,
    source: str,
    given: calibration_texts.Texts,
    ids: Sequence[Sequence[int]],
    full: Array,
) -> Iterator[dict[str, Any]]:
    """Rows, two a way. ids, full: the texts that are scored, functions before their queries, and their vectors.

    Seconds: of the calibration, the head's recovery included; None if only the head takes texts.
    """
    calibration = Calibration(calibration_ids(checkpoint, given))
    begun = time.monotonic()
    moments = _moments(checkpoint, calibration)
    observing = time.monotonic() - begun

    def rows(way: str, of: Checkpoint, bundle: Bundle, states_map: AffineMap, seconds: float | None) -> Iterator[Any]:
        for row in both_heads(of, bundle, states_map, ids, full):
            yield {"way": way, "seconds": seconds and round(seconds)} | row

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        bundle = convert(source, folder / "bundle", TARGET, target_probes=False)
        yield from rows("nearest", checkpoint, bundle, recover(checkpoint, bundle.folder, calibration), None)
        for way, rounded in (("importance matrix", _by_importance), ("gptq", _by_gptq)):
            begun = time.monotonic()
            matrices = list(_matrices(bundle))
            with bar(way, len(matrices), "matrices") as advance:
                for layer, matrix, stored in matrices:
                    weights = checkpoint.tensor(f"{layer}.{matrix}.weight")
                    seen = moments[f"{layer}.{SHOWN_AS[matrix]}.weight"]
                    stored[...] = rounded(weights, seen).reshape(stored.shape)
                    advance(1)
            bundle = seal(bundle.folder, bundle.manifest)
            states_map = recover(checkpoint, bundle.folder, calibration)
            yield from rows(way, checkpoint, bundle, states_map, observing + time.monotonic() - begun)

        rotated = folder / "checkpoint"
        rotated.mkdir()
        write_rotated(checkpoint, rotated)
        turned = open_checkpoint(rotated)
        bundle = convert(rotated, folder / "rotated", TARGET, target_probes=False)
        states_map = recover(turned, bundle.folder, Calibration(calibration.texts))
        yield from rows("rotated, nearest", turned, bundle, states_map, None)
        begun = time.monotonic()
        bundle = convert(rotated, folder / "rotated", TARGET, target_probes=False, calibrate=given, force=True)
        yield from rows("rotated, moved, gptq", turned, bundle, kept_map(bundle), time.monotonic() - begun)


def _moments(checkpoint: Checkpoint, calibration: Calibration) -> dict[str, Array]:
    """Of each matrix's inputs at full precision, (width, width) float32; keeps the states for the head's recovery."""
    found: dict[str, Array] = {}

    def observe(name: str, inputs: Array) -> None:
        found[name] = found.get(name, np.float32(0)) + inputs.T @ inputs

    with bar("full precision", checkpoint.backbone.layers, "layers") as advance:
        calibration.states = reference.states(checkpoint, calibration.texts, lambda done, of: advance(1), observe)
    return found


def _matrices(bundle: Bundle) -> Iterator[tuple[str, str, NDArray[np.uint8]]]:
    """Each matrix's layer, its name there, and its bytes, mapped to be written."""
    tensors = {tensor.name: tensor.data for tensor in gguf.GGUFReader(bundle.path(GGUF), "r+").tensors}
    for layer in range(bundle.manifest.backbone.layers):
        for matrix in SHOWN_AS:
            yield f"layers.{layer}", matrix, tensors[f"blk.{layer}.{LAYER_NAMES[matrix]}.weight"]


def _by_importance(weights: Array, moments: Array) -> NDArray[np.uint8]:
    """ggml's bytes of weights (rows, width), each column's squared error weighed by its inputs' mean square."""
    stored: NDArray[np.uint8] = Quantizer()(weights, KIND, np.ascontiguousarray(np.diagonal(moments)))
    return stored


def _by_gptq(weights: Array, moments: Array) -> NDArray[np.uint8]:
    codes, scales = round_matrix(weights, moments, GRIDS[KIND])
    stored: NDArray[np.uint8] = encode(codes, scales, KIND)
    return stored


if __name__ == "__main__":
    typer.run(main)
