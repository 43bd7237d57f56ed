"""Compares builds of llama.cpp and the types of its weights: tokens a second at C2LLM-0.5B's shape.

    python -m c2llm_lite.benchmarks.lab.ggml_builds.builds [BUILD…]

BUILD: folders that compile.sh made; the installed llama.cpp is always measured. Random weights, on whose values speed
does not depend, in fewer layers than C2LLM's: rates are of LAYERS layers. Each build runs in a process of its own, the
builds in rotation, and in each the types in rotation; medians, with the lowest and the highest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from c2llm_lite import child_process
from c2llm_lite.convert import convert
from c2llm_lite.durable import staged
from c2llm_lite.progress import bar

from ...bench.hardware import Stolen, stamp
from ...bench.results_file import write_results
from ..interleaved import spread
from ..random_checkpoint import C2LLM_05B, write_checkpoint
from .kinds import REPACKED

LAYERS = 8
KINDS = ("f32", "f16", "bf16", "q8_0", "q6_k", "q5_k", "q5_0", "q4_k", "q4_0", "iq4_nl", "q3_k")
TURNS, ROUNDS = 2, 3  # of the builds; of the types in each process
INSTALLED = "installed"
LIBRARY = "llama_cpp/lib/libggml-cpu.so"
BUILD = Path("build/bench/ggml_builds")
RESULTS = Path(__file__).parents[2] / "results" / "ggml_builds.json"


def main(builds: Annotated[list[Path] | None, typer.Argument()] = None) -> None:
    """Make the bundles, time them under each build, and write the results."""
    places = {INSTALLED: environment(None), **{folder.name: environment(folder) for folder in builds or ()}}
    for kind in KINDS:
        if not (BUILD / kind).exists():
            convert(_checkpoint(), BUILD / kind, f"gguf:{kind}", target_probes=False)
    found: dict[str, Any] = {name: {"instructions": "", "tokens_per_second": {}} for name in places}
    stolen = Stolen()
    with bar("builds", TURNS * len(places), "runs") as advance:
        for _ in range(TURNS):
            for name, place in places.items():
                told = _run(place)
                found[name]["instructions"] = told["instructions"]
                for kind, rates in told["tokens_per_second"].items():
                    found[name]["tokens_per_second"].setdefault(kind, []).extend(rates)
                advance(1)
    for told in found.values():
        told["tokens_per_second"] = {kind: spread(rates) for kind, rates in told["tokens_per_second"].items()}
    result = {"layers": LAYERS, "builds": found, "stolen": stolen.share(), "on": stamp()}
    write_results(RESULTS, result)
    for name, told in found.items():
        print(name, {kind: spread["median"] for kind, spread in told["tokens_per_second"].items()})


def environment(build: Path | None) -> dict[str, str]:
    """Of a process that runs this build's library, or, for None, the installed one."""
    if build is not None and not (build / LIBRARY).exists():  # the installed one would be measured under its name
        sys.exit(f"{build} has no {LIBRARY}: name a folder that compile.sh made")
    places = ["" if build is None else str(build.resolve()), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}


def _checkpoint() -> Path:
    folder = BUILD / "checkpoint"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with staged(folder) as made:
            write_checkpoint(made, replace(C2LLM_05B, layers=LAYERS, vocab=1000))
    return folder


def _run(place: dict[str, str]) -> dict[str, Any]:
    module = f"{__package__}.kinds"
    command = child_process.command(module, str(BUILD), str(ROUNDS), *KINDS, f"q4_k{REPACKED}")
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=place)
    told: dict[str, Any] = json.loads(run.stdout)
    return told


if __name__ == "__main__":
    typer.run(main)
