"""Measures the memory of converting the 7B: `python -m c2llm_lite.benchmarks.lab.convert_memory FOLDER [TARGET]`.

A checkpoint in C2LLM-7B's shapes, of random weights, is written to FOLDER shard by shard (24 GB of disk are needed, and
freed at the end), and converted in a child process whose anonymous memory is sampled: what the process holds, without
the pages of mapped files, which the system drops when it wants them back.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ..bench.hardware import memory, stamp
from ..bench.results_file import write_results
from .nf4_memory import C2LLM_7B
from .random_checkpoint import write_checkpoint

RESULT = Path(__file__).parents[1] / "results" / "convert_memory_7b.json"
LIMIT = 3e9  # bytes
INTERVAL = 0.02  # seconds between samples
CONVERT = """
import sys
from c2llm_lite.convert import convert
from c2llm_lite.convert.calibrate.texts import default
source, output, target, *calibrated = sys.argv[1:]
convert(source, output, target, target_probes=False, calibrate=default() if calibrated else None)
"""


def convert(source: Path, output: Path, target: str, *, calibrated: bool = False) -> tuple[int, float]:
    """Convert in a child process: the peak of its anonymous memory in bytes, and the seconds taken.

    calibrated: on the default texts.
    """
    start, peak = time.monotonic(), 0
    command = [sys.executable, "-c", CONVERT, str(source), str(output), target, *(["calibrated"] if calibrated else [])]
    with subprocess.Popen(command) as child:
        while child.poll() is None:
            peak = max(peak, _anonymous(child.pid))
            time.sleep(INTERVAL)
    if child.returncode != 0:
        raise SystemExit(f"the conversion failed: exit {child.returncode}")
    return peak, time.monotonic() - start


def main(folder: str, target: Annotated[str, typer.Argument()] = "gguf:q8_0") -> None:
    """Convert a 7B-shaped checkpoint, written first if `folder` lacks it, and record the memory it took."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        source, output = Path(place, "checkpoint"), Path(place, "bundle")
        source.mkdir()
        write_checkpoint(source, C2LLM_7B)
        stored = sum(file.stat().st_size for file in source.iterdir())
        peak, seconds = convert(source, output, target)
        result = {
            "measured": "peak anonymous memory (RssAnon, sampled) of convert() without target probes",
            "target": target,
            "backbone": asdict(C2LLM_7B),
            "checkpoint_bytes": stored,
            "bundle_bytes": sum(file.stat().st_size for file in output.iterdir()),
            "peak_anonymous_bytes": peak,
            "limit_bytes": int(LIMIT),
            "seconds": round(seconds),
            "hardware": stamp(),
        }
    write_results(RESULT, result)
    print(
        f"{target}: peak {peak / 1e9:.2f} GB of anonymous memory in {seconds:.0f} s; the limit is {LIMIT / 1e9:.0f} GB"
    )
    if peak > LIMIT:
        raise SystemExit(1)


def _anonymous(process: int) -> int:
    """RssAnon of a process in bytes; 0 where it has ended."""
    try:
        return memory("RssAnon", process)
    except OSError:
        return 0


if __name__ == "__main__":
    typer.run(main)
