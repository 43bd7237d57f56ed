"""Projects the time and memory of calibrating C2LLM's sizes from their first one and two layers.

    python -m c2llm_lite.benchmarks.lab.calibration_time TOKENIZER.json [TARGET]

Random weights in each size's shapes are calibrated on the default texts, tokenized with TOKENIZER. One layer takes as
long as another, and is let go before the next, so time grows with the layers and memory does not. Needs 5 GB of disk,
and for the 7B 24 GB of memory.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from c2llm_lite.bundle import Backbone

from ..bench.hardware import stamp
from ..bench.results_file import write_results
from .convert_memory import convert
from .random_checkpoint import SHAPES, write_checkpoint

RESULT = Path(__file__).parents[1] / "results" / "calibration_time.json"


def main(
    tokenizer: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    target: Annotated[str, typer.Argument()] = "gguf:int4",
) -> None:
    """Calibrate one and two layers of each of SHAPES, and write what all layers would take."""
    found = {name: _projected(shape, tokenizer, target) for name, shape in SHAPES.items()}
    result = {"target": target, "texts": "default", "shapes": found, "on": stamp()}
    write_results(RESULT, result)
    for name, row in found.items():
        print(f"{name}: {row['projected_seconds'] / 60:.0f} minutes, {row['peak_anonymous_bytes'] / 1e9:.1f} GB")


def _projected(shape: Backbone, tokenizer: Path, target: str) -> dict[str, Any]:
    """Seconds of one and of two layers, of all as they follow from these, and the peak of the memory."""
    seconds, peaks = [], []
    for layers in (1, 2):
        with tempfile.TemporaryDirectory() as place:
            source = Path(place, "checkpoint")
            source.mkdir()
            write_checkpoint(source, replace(shape, layers=layers))
            shutil.copyfile(tokenizer, source / "tokenizer.json")
            peak, taken = convert(source, Path(place, "bundle"), target, calibrated=True)
        seconds.append(taken)
        peaks.append(peak)
        print(f"{shape.hidden} wide, {layers} layers: {taken:.0f} s, {peak / 1e9:.1f} GB", flush=True)
    a_layer = seconds[1] - seconds[0]
    return {
        "layers": shape.layers,
        "seconds": [round(taken, 1) for taken in seconds],
        "projected_seconds": round(seconds[0] + (shape.layers - 1) * a_layer),
        "peak_anonymous_bytes": max(peaks),
    }


if __name__ == "__main__":
    typer.run(main)
