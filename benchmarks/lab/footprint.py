"""Measures a bundle's footprint on a small machine: memory, its own and shared, and the time to the first vector.

    python -m c2llm_lite.benchmarks.lab.footprint BUNDLE... [--functions 100]

Functions of the standard library's held-out pairs, the longest always among them: memory is that of the longest text
and of one pass, not of how many texts there are. When a start is timed, files are in the page cache. A bundle of random
weights takes what one of trained weights does.

Two processes that hold the bundle at once show what a second one costs (Linux): what it wrote is its own, files that
both mapped are in memory once.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..bench.hardware import Stolen, stamp
from ..bench.pairs import stdlib_pairs
from ..bench.results_file import write_results

RESULTS = Path(__file__).parents[1] / "results" / "footprint.json"
FUNCTIONS = 1000
STARTS = 5
# What a user's process imports, and no more; memory is printed last. The bundle stays loaded until a line comes.
PROCESS = """
import json, sys
import c2llm_lite
texts = json.loads(sys.stdin.readline())
with c2llm_lite.load(sys.argv[1]) as model:
    model.embed(texts, prompt_name=sys.argv[2])
    print("embedded", flush=True)
    sys.stdin.readline()
from c2llm_lite.benchmarks.bench.hardware import peak_memory
print(peak_memory())
"""


def main(
    bundles: list[Path],
    functions: Annotated[int, typer.Option(min=1, max=FUNCTIONS, help="How many to embed.")] = FUNCTIONS,
) -> None:
    """Measure each of BUNDLES, in processes of its own."""
    texts = chosen(functions)
    stolen = Stolen()
    rows = {bundle.name: measured(bundle, texts) for bundle in bundles}
    result = {"functions": len(texts), "bundles": rows, "stolen": stolen.share(), "on": stamp()}
    write_results(RESULTS, result)
    print(json.dumps(rows, indent=1))


def chosen(count: int) -> list[str]:
    """`count` functions, evenly by length, from the longest down."""
    texts = sorted((pair.code for pair in stdlib_pairs()), key=len, reverse=True)
    return texts[:: len(texts) // count][:count]


def measured(bundle: Path, texts: Sequence[str]) -> dict[str, Any]:
    """Peak memory in bytes with `texts`; seconds from a process's start to the end of it, one query embedded."""
    starts = []
    for _ in range(STARTS + 1):  # the first fills the page cache
        started = time.perf_counter()
        _embed(bundle, ["open a file and read its lines"], "query")
        starts.append(round(time.perf_counter() - started, 2))
    return {
        "peak_memory": _embed(bundle, texts, "document"),
        "seconds_to_a_vector": statistics.median(starts[1:]),
        "starts": starts[1:],
        "of_two_processes": _held_by_two(bundle, texts) if sys.platform == "linux" else None,
    }


def _held_by_two(bundle: Path, texts: Sequence[str]) -> dict[str, int]:
    """Bytes of one of two processes that hold the bundle: its own, and its part, half of what both have mapped."""
    both = [_started(bundle, "document") for _ in range(2)]
    try:
        for process in both:
            _ask(process, texts)
        held = dict(line.split()[:2] for line in Path(f"/proc/{both[0].pid}/smaps_rollup").read_text().splitlines()[1:])
    finally:
        for process in both:
            process.communicate("\n")
    return {
        "anonymous": 1024 * int(held["Anonymous:"]),
        "of_files_alone": 1024 * (int(held["Private_Clean:"]) + int(held["Private_Dirty:"]) - int(held["Anonymous:"])),
        "proportional": 1024 * int(held["Pss:"]),
    }


def _started(bundle: Path, prompt: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROCESS, str(bundle), prompt]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _ask(process: subprocess.Popen[str], texts: Sequence[str]) -> None:
    """Have it embed `texts`; returns once it has."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(texts) + "\n")
    process.stdin.flush()
    process.stdout.readline()


def _embed(bundle: Path, texts: Sequence[str], prompt: str) -> int:
    """The peak memory of a process that embeds `texts` and ends."""
    process = _started(bundle, prompt)
    _ask(process, texts)
    return int(process.communicate("\n")[0])


if __name__ == "__main__":
    typer.run(main)
