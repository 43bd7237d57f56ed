"""Measures how much of embed()'s rate indexing keeps; reading, splitting, hashing and writing take the rest.

    python -m c2llm_lite.benchmarks.lab.search_rate BUNDLE

Samples of the standard library's files, indexed again, and the same texts given to embed() in one call: index, embed,
embed, index, so that a machine that grows slower or faster favors neither. The median is reported.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from pathlib import Path
from statistics import median
from typing import Any

import typer

import c2llm_lite
from c2llm_lite.embedder import Embedder
from c2llm_lite.search import Index
from c2llm_lite.search.database import DATABASE

from ..bench.hardware import Stolen, stamp
from ..bench.results_file import write_results
from .search_stdlib import copied

LEAST_RATE = 0.9
SAMPLES, EVERY = 3, 90  # of every ninetieth file: a few of update.py's batches each
BUILD = Path("build/bench/search_rate")
RESULTS = Path(__file__).parents[1] / "results" / "search_rate.json"


def main(bundle: str) -> None:
    """Time indexing and embedding in turn and write the results."""
    shutil.rmtree(BUILD, ignore_errors=True)
    files = sorted(copied(BUILD / "library").rglob("*.py"))
    with c2llm_lite.load(bundle) as model:
        model.embed("warm up", prompt_name="query")
        samples = [_sample(model, files[first::EVERY], BUILD / f"sample-{first}") for first in range(SAMPLES)]
        rate = median(sample["rate_of_embed"] for sample in samples)
        result: dict[str, Any] = {
            "target": model.bundle.manifest.target,
            "bundle": model.bundle.sha256,
            "rate_of_embed": {"found": rate, "least": LEAST_RATE},
            "samples": samples,
            "machine": stamp(),
        }
    write_results(RESULTS, result)
    print(json.dumps(result["rate_of_embed"]), json.dumps(samples))


def _sample(model: Embedder, files: list[Path], folder: Path) -> dict[str, Any]:
    """Seconds to index copies of the files in `folder`, and to embed what was embedded for that, twice each."""
    for path in files:
        copy = folder / path.relative_to(BUILD)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    stolen = Stolen()
    index_before, texts = _indexed(model, folder, folder.with_name(f"{folder.name}-before"))
    embed = [_embedded(model, texts) for _ in range(2)]
    index_after, _ = _indexed(model, folder, folder.with_name(f"{folder.name}-after"))
    index = [index_before, index_after]
    return {
        "texts": len(texts),
        "index_seconds": index,
        "embed_seconds": embed,
        "rate_of_embed": round(sum(embed) / sum(index), 3),
        "stolen": stolen.share(),
    }


def _indexed(model: Embedder, folder: Path, place: Path) -> tuple[float, list[str]]:
    """Seconds, and the texts that were embedded, in the order in which they were."""
    with Index(model, folder, index=place) as index:
        done = index.update()
        connection = sqlite3.connect(index.place / DATABASE)
    texts = [text for (text,) in connection.execute("SELECT text FROM texts ORDER BY id")]
    connection.close()
    return round(done.seconds, 2), texts


def _embedded(model: Embedder, texts: list[str]) -> float:
    started = time.monotonic()
    model.embed(texts, prompt_name="document")
    return round(time.monotonic() - started, 2)


if __name__ == "__main__":
    typer.run(main)
