"""Compares the speed of bundles in rotation within one process: the cost of a recipe against plain rounding.

    python -m c2llm_lite.benchmarks.lab.bundles_in_turns PLAIN OTHER...

Functions and docstrings of the standard library's held-out pairs. Ratios are to the first bundle's, taken within a
round; medians, with the lowest and the highest.
"""

from __future__ import annotations

import json
import statistics
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import typer

import c2llm_lite

from ..bench.hardware import Stolen, stamp
from ..bench.pairs import stdlib_pairs
from ..bench.results_file import write_results
from .interleaved import seconds_in_turns

RESULTS = Path(__file__).parents[1] / "results" / "bundles_in_turns.json"
TEXTS, ROUNDS = 16, 9


def main(folders: list[str]) -> None:
    """Time the bundles in rotation and add them to the results."""
    pairs = stdlib_pairs()[:TEXTS]
    texts = {"document": [pair.code for pair in pairs], "query": [pair.query for pair in pairs]}
    stolen = Stolen()
    found: dict[str, Any] = {}
    with ExitStack() as opened:
        models = {Path(folder): opened.enter_context(c2llm_lite.load(folder)) for folder in folders}
        names = [f"{model.info()['target']}, {folder.name}" for folder, model in models.items()]
        for kind, given in texts.items():
            ways = {
                name: partial(model.embed, given, prompt_name=kind)
                for name, model in zip(names, models.values(), strict=True)
            }
            seconds = seconds_in_turns(ways, ROUNDS)
            found[kind] = {name: _told(taken, seconds[names[0]]) for name, taken in seconds.items()}
    result = {"texts": TEXTS, "rounds": ROUNDS, "times_as_fast": found, "stolen": stolen.share(), "on": stamp()}
    write_results(RESULTS, result)
    print(json.dumps(found, indent=1))


def _told(taken: list[float], first: list[float]) -> dict[str, Any]:
    """Seconds at the median, and how many times as fast as the first."""
    ratios = [theirs / ours for ours, theirs in zip(taken, first, strict=True)]
    told = [round(value, 3) for value in (statistics.median(ratios), min(ratios), max(ratios))]
    return {"seconds": round(statistics.median(taken), 3), "median, lowest, highest": told}


if __name__ == "__main__":
    typer.run(main)
