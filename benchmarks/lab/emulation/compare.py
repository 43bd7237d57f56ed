"""Compares what emulated machines gave with what this one gave, and writes the results file.

    python -m c2llm_lite.benchmarks.lab.emulation.compare FOLDER RESULTS.json EMULATOR [MACHINE=SATURATION.json …]

FOLDER: of vectors.py's files. full.here.json is full precision; BUNDLE.here.json is this machine's, BUNDLE.NAME.json an
emulated one's. EMULATOR: its version. SATURATION.json: what saturation.py printed on a machine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from c2llm_lite.errors import ArgumentError
from c2llm_lite.pma import Array
from c2llm_lite.vectors import normalize
from c2llm_lite.verify import fidelity

from ...bench.results_file import write_results

FULL, HERE = "full", "here"


def compare(folder: Path) -> dict[str, Any]:
    """By bundle and machine: cosines to full precision and to this machine, seconds, and the probes that pass."""
    found = {tuple(path.stem.split(".", 1)): json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    vectors = {key: np.asarray(run["vectors"], np.float32) for key, run in found.items()}
    if (FULL, HERE) not in vectors:
        raise ArgumentError(f"{folder} has no {FULL}.{HERE}.json; run vectors.py with a bundle at full precision first")
    full = vectors[FULL, HERE]
    results: dict[str, Any] = {}
    for (bundle, machine), run in found.items():
        if bundle == FULL:
            continue
        row = {key: run[key] for key in ("engine", "system", "stamp", "seconds", "probes")}
        row["cosine_to_full"] = _summary(vectors[bundle, machine], full)
        if machine != HERE:
            here = vectors[bundle, HERE]
            row["cosine_to_here"] = _summary(vectors[bundle, machine], here)
            row["mixed_index"] = mixed(vectors[bundle, machine], here)
        results.setdefault(bundle, {"target": run["target"]})[machine] = row
    return results


def mixed(asked: Array, indexed: Array) -> dict[str, Any]:
    """What changes when texts are indexed on one machine and asked on another; (n, d) each, the same texts.

    largest_change: of the cosine of two different texts. nearest_kept: texts whose nearest other text stays the same.
    """
    asked, indexed = normalize(asked), normalize(indexed)
    alone, both = indexed @ indexed.T, asked @ indexed.T
    for scores in (alone, both):
        np.fill_diagonal(scores, -1)
    return {
        "largest_change": round(float(np.abs(both - alone).max()), 6),
        "nearest_kept": int((alone.argmax(1) == both.argmax(1)).sum()),
        "texts": len(asked),
    }


def _summary(vectors: Array, reference: Array) -> dict[str, float]:
    found = fidelity(vectors, reference)
    return {"mean": round(found.mean, 6), "lowest": round(found.worst, 6)}


def main(
    folder: Path, results: Path, emulator: str, saturation: Annotated[list[str] | None, typer.Argument()] = None
) -> None:
    """Write the results and print a line per machine."""
    bundles = compare(folder)
    found: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {"bundles": {}}
    found["emulator"] = emulator
    for bundle, rows in bundles.items():
        found["bundles"].setdefault(bundle, {}).update(rows)
    if saturation:
        named = (argument.split("=", 1) for argument in saturation)
        found["largest_products"] = {machine: json.loads(Path(path).read_text()) for machine, path in named}
    write_results(results, found)
    for bundle, rows in bundles.items():
        for machine, row in rows.items():
            if machine != "target":
                print(bundle, machine, row["cosine_to_full"], row.get("cosine_to_here", ""), row["seconds"])


if __name__ == "__main__":
    typer.run(main)
