"""Kills an index every SECONDS until it ends, and compares what it then holds with embed().

    python -m c2llm_lite.benchmarks.lab.search_killed BUNDLE

Indexes the packages of search_questions, which then finds them indexed. A kill is a SIGKILL of the command, engine and
all; how many texts have their vector is read after each.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import typer

import c2llm_lite
from c2llm_lite.search import Index

from ..bench.hardware import Stolen, stamp
from ..bench.results_file import write_results
from .search_questions.packages import BUILD, fetched

SECONDS = 60
COMPARED = 200  # texts
RESULTS = Path(__file__).parents[1] / "results" / "search_killed.json"


def main(bundle: str) -> None:
    """Index, killed again and again; compare, print and keep the results."""
    tree, place = fetched(), BUILD / "index"
    shutil.rmtree(place, ignore_errors=True)
    command = [sys.executable, "-m", "c2llm_lite", "index", bundle, str(tree), "--index", str(place)]
    stolen = Stolen()
    rounds: list[dict[str, Any]] = []
    ended = False
    with c2llm_lite.load(bundle) as model:
        while not ended:
            begun = time.monotonic()
            with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
                try:
                    ended = process.wait(SECONDS) == 0
                except subprocess.TimeoutExpired:
                    process.kill()
            with Index(model, tree, index=place) as index:
                embedded, pieces = index.coverage()
            rounds.append({"seconds": round(time.monotonic() - begun, 1), "embedded": embedded, "pieces": pieces})
            print(rounds[-1], flush=True)
        with Index(model, tree, index=place) as index:
            contents = index._store.contents(model.dim)
            drawn = random.Random(0).sample(range(len(contents.ids)), COMPARED)
            texts = index._store.texts([int(contents.ids[row]) for row in drawn])
            kept = contents.vectors[drawn]
        cosines = np.sum(kept * model.embed(texts, prompt_name="document"), axis=1)
        result = {
            "target": model.bundle.manifest.target,
            "bundle": model.bundle.sha256,
            "killed_every_seconds": SECONDS,
            "rounds": rounds,
            "lowest_cosine_to_embed": round(float(cosines.min()), 5),
            "texts_compared": COMPARED,
            "stolen": stolen.share(),
            "machine": stamp(),
        }
    write_results(RESULTS, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    typer.run(main)
