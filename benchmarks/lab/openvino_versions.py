"""Compares OpenVINO releases on the same bundles: seconds to load, memory, tokens per second.

    python -m c2llm_lite.benchmarks.lab.openvino_versions BUNDLE... --python ENV1/bin/python --python ENV2/bin/python

Each environment has its own OpenVINO. Processes take turns, so that background load affects all alike. Each opens a
bundle with an empty cache folder and once more with what the first opening left there. Medians.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from ..bench.hardware import Stolen, stamp
from ..bench.results_file import write_results

RESULTS = Path(__file__).parents[1] / "results" / "openvino_versions.json"
ROUNDS = 5
PROCESS = """
import json, sys, time
from pathlib import Path
import numpy as np
from c2llm_lite import machine
from c2llm_lite.bundle import open_bundle
from c2llm_lite.engines import open_engine
from c2llm_lite.benchmarks.bench.hardware import peak_memory
bundle = open_bundle(sys.argv[1])
shape, heads = bundle.manifest.backbone, bundle.manifest.head.heads
draw = np.random.default_rng(0)
texts = [draw.integers(0, shape.vocab, length).tolist() for length in (16, 32, 64, 128, 128, 256, 400, 512)]
queries = draw.standard_normal((heads, shape.hidden), dtype=np.float32)
began = time.perf_counter()
engine = open_engine(bundle, device="cpu", threads=machine.cores(), max_tokens=2048, cache=Path(sys.argv[2]))
opened = time.perf_counter() - began
engine.pool(texts, queries)
passes = []
for _ in range(3):
    began = time.perf_counter()
    engine.pool(texts, queries)
    passes.append(time.perf_counter() - began)
import openvino
print(json.dumps({
    "version": openvino.__version__.partition("-")[0],
    "opened": opened,
    "rate": sum(map(len, texts)) / min(passes),
    "memory": peak_memory(),
}))
"""


def main(
    bundles: list[Path],
    python: Annotated[list[Path], typer.Option(help="An environment's interpreter; give one for each release.")],
    rounds: Annotated[int, typer.Option(min=1)] = ROUNDS,
) -> None:
    """Measure each bundle under each interpreter's OpenVINO and write the results."""
    stolen = Stolen()
    rows: dict[str, dict[str, Any]] = {}
    for bundle in bundles:
        runs: dict[str, list[dict[str, float]]] = {}
        for _ in range(rounds):
            for interpreter in python:
                version, measured = _run(interpreter, bundle)
                runs.setdefault(version, []).append(measured)
        rows[bundle.name] = {version: _medians(measured) for version, measured in runs.items()}
    result = {"rounds": rounds, "bundles": rows, "stolen": stolen.share(), "load": os.getloadavg(), "on": stamp()}
    write_results(RESULTS, result)
    print(json.dumps(rows, indent=1))


def _run(interpreter: Path, bundle: Path) -> tuple[str, dict[str, float]]:
    """The release of OpenVINO, and what two processes measured, one after another with one cache folder."""
    with tempfile.TemporaryDirectory() as cache:
        command = [str(interpreter), "-c", PROCESS, str(bundle.resolve()), cache]
        first, again = (
            json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout) for _ in range(2)
        )
    return first["version"], {
        "seconds_to_open": first["opened"],
        "seconds_to_open_again": again["opened"],
        "tokens_per_second": max(first["rate"], again["rate"]),
        "peak_memory": first["memory"],
        "peak_memory_again": again["memory"],
    }


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}


if __name__ == "__main__":
    typer.run(main)
