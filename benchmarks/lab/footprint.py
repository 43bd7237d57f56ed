"""Measures a bundle's footprint on a small machine: peak memory, and the time from process start to a vector.

    python -m c2llm_lite.benchmarks.lab.footprint BUNDLE... [--functions 100]

Functions of the standard library's held-out pairs, the longest always among them: memory is that of the longest text
and of one pass, not of how many texts there are. When a start is timed, files are in the page cache. A bundle of random
weights takes what one of trained weights does.
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

RESULTS = Path(__file__).parents[1] / "results" / "footprint.json"
FUNCTIONS = 1000
STARTS = 5
# What a user's process imports, and no more; memory is printed last.
PROCESS = """
import json, sys
import c2llm_lite
texts = json.load(sys.stdin)
with c2llm_lite.load(sys.argv[1]) as model:
    model.embed(texts, prompt_name=sys.argv[2])
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
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
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
    }


def _embed(bundle: Path, texts: Sequence[str], prompt: str) -> int:
    """The peak memory of a process that embeds `texts` and ends."""
    command = [sys.executable, "-c", PROCESS, str(bundle), prompt]
    done = subprocess.run(command, input=json.dumps(texts), check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout)


if __name__ == "__main__":
    typer.run(main)
