"""Runs the campaign, all areas or the named ones, and prints counts by area and the failing cases.

    make -f benchmarks/lab/Makefile hostile LABEL=after
    python -m c2llm_lite.benchmarks.lab.hostile [AREA...] [--label LABEL]

Linux only. 20 minutes on two cores. The figures of each area are kept in benchmarks/results/hostile.json under the
run's label, in the place of earlier ones of that area and label.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ...bench.hardware import stamp
from ...bench.results_file import write_results
from .outcome import EXPLAINED, KINDS, OK, Outcome

AREAS = (
    *("manifest", "gguf", "tokenizer", "arrays", "openvino", "torch", "damage", "checkpoints", "kills", "disks"),
    *("requests", "keys", "trees", "code", "indexes", "api", "threads"),
)
RESULTS = Path(__file__).parents[2] / "results" / "hostile.json"
# One thread each: two cases run at once, and a fork keeps no threads. Without ggml's backtrace, which starts gdb.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "GGML_NO_BACKTRACE": "1", "HF_HUB_OFFLINE": "1"}


def main() -> None:
    """Run the areas and print the table."""
    parser = argparse.ArgumentParser(prog="hostile")
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"of {', '.join(AREAS)}")
    parser.add_argument("--label", default="after", help="the run's name in the results; default: after")
    arguments = parser.parse_args()
    areas = arguments.areas or list(AREAS)
    if unknown := sorted(set(areas) - set(AREAS)):
        parser.error(f"no area is called {', '.join(unknown)}; there are {', '.join(AREAS)}")
    console = Console(stderr=True)
    found: dict[str, list[Outcome]] = {}
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        fixtures = Path(folder) / "fixtures"
        fixtures.mkdir()
        console.print("writing a checkpoint and its bundles")
        _module("fixtures", str(fixtures), cache=Path(folder) / "cache")
        for area in areas:
            begun = time.monotonic()
            lines = _module("area", area, str(fixtures), cache=Path(folder) / "cache").splitlines()
            found[area] = [Outcome(*json.loads(line)) for line in lines]
            seconds = round(time.monotonic() - begun)
            _keep(arguments.label, area, found[area], seconds)
            told = ", ".join(f"{count} {kind}" for kind, count in _counts(found[area]).items() if count)
            console.print(f"{area}: {told}; {seconds} s", highlight=False)
    _print(found)


def _module(name: str, *arguments: str, cache: Path) -> str:
    """What a module of this package prints, run in a process of its own."""
    command = [sys.executable, "-m", f"{__package__}.{name}", *arguments]
    log = cache.with_name("log")
    with log.open("w") as errors:
        environment = os.environ | ENVIRONMENT | {"XDG_CACHE_HOME": str(cache)}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
    if done.returncode:
        raise RuntimeError(f"{name} failed: {log.read_text()[-2000:]}")
    return done.stdout


def _counts(outcomes: list[Outcome]) -> dict[str, int]:
    counts = Counter(outcome.kind for outcome in outcomes)
    return {kind: counts[kind] for kind in KINDS}


def _print(found: dict[str, list[Outcome]]) -> None:
    table = Table("area", "cases", *KINDS)
    for area, outcomes in found.items():
        table.add_row(area, f"{len(outcomes):,}", *(f"{count:,}" for count in _counts(outcomes).values()))
    whole = [outcome for outcomes in found.values() for outcome in outcomes]
    table.add_section()
    table.add_row("all", f"{len(whole):,}", *(f"{count:,}" for count in _counts(whole).values()))
    console = Console(width=120)
    for area, outcomes in found.items():
        for outcome in outcomes:
            if outcome.kind != OK:
                console.print(
                    f"{outcome.kind} {area}: {outcome.name} ({outcome.detail})", markup=False, highlight=False
                )
    console.print(table)
    for kind, explained in EXPLAINED.items():
        console.print(f"{kind}: {explained}", highlight=False)


def _keep(label: str, area: str, outcomes: list[Outcome], seconds: int) -> None:
    results: dict[str, Any] = {"kinds": EXPLAINED, "runs": {}}
    if RESULTS.exists():
        results = json.loads(RESULTS.read_text(encoding="utf-8"))
    run = results["runs"].setdefault(label, {"areas": {}})
    failing = {
        kind: sorted(f"{outcome.name} ({outcome.detail})" for outcome in outcomes if outcome.kind == kind)
        for kind in KINDS
        if kind != OK
    }
    run["areas"][area] = {
        "counts": _counts(outcomes),
        "seconds": seconds,
        "failing": {kind: names for kind, names in failing.items() if names},
    }
    run["counts"] = {kind: sum(found["counts"][kind] for found in run["areas"].values()) for kind in KINDS}
    run["on"] = stamp()
    write_results(RESULTS, results)


if __name__ == "__main__":
    main()
