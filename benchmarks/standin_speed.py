"""How fast each target embeds on the stand-in checkpoint, side by side: the last step of `make bench`.

32 of the held-out functions, in interleaved rounds, so that what else the machine does meets every target alike;
medians. Then single queries, one at a time. Takes the bundles that benchmarks/standin.py converted.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

import c2llm_lite
from c2llm_lite.embedder import Embedder
from c2llm_lite.progress import bar

from .data import HELDOUT, list_sha256, stdlib_pairs
from .hardware import Stolen, stamp
from .standin import FULL_PRECISION, TARGETS, bundle_folder

RESULTS = Path(__file__).with_name("results") / "standin_speed.json"
DOCUMENTS, QUERIES = 32, 16
ROUNDS = 3


def main() -> None:
    random = np.random.default_rng(0)
    pairs = stdlib_pairs()
    documents = [pairs[i].code for i in random.choice(len(pairs), DOCUMENTS, replace=False)]
    queries = [pairs[i].query for i in random.choice(len(pairs), QUERIES, replace=False)]
    targets = [t for t in (FULL_PRECISION, *sum(TARGETS.values(), ())) if bundle_folder(t).exists()]
    seconds: dict[str, list[float]] = {target: [] for target in targets}
    waits: dict[str, list[float]] = {target: [] for target in targets}
    stolen = Stolen()
    with ExitStack() as opened, bar("rounds", ROUNDS * len(targets), "runs") as advance:
        models = {target: opened.enter_context(c2llm_lite.load(bundle_folder(target))) for target in targets}
        for model in models.values():
            _round(model, documents[:2], queries[:2])  # warms up
        for _ in range(ROUNDS):
            for target, model in models.items():
                taken, each = _round(model, documents, queries)
                seconds[target].append(round(taken, 3))
                waits[target] += each
                advance(1)
    rows = {
        target: {
            "documents_per_second": round(DOCUMENTS / statistics.median(seconds[target]), 1),
            "slowest_and_fastest_round": [round(DOCUMENTS / f(seconds[target]), 1) for f in (max, min)],
            "query_milliseconds": {f"p{q}": round(1000 * float(np.percentile(waits[target], q)), 1) for q in (50, 95)},
        }
        for target in targets
    }
    result: dict[str, Any] = {
        "command": "make bench",
        "documents": DOCUMENTS,
        "queries": QUERIES,
        "rounds": ROUNDS,
        "pairs": {"list": HELDOUT.name, "sha256": list_sha256(HELDOUT)},
        "load": os.getloadavg()[0],
        "stolen": stolen.share(),
        "on": stamp(),
        "rows": rows,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(rows, indent=1))


def _round(model: Embedder, documents: list[str], queries: list[str]) -> tuple[float, list[float]]:
    """Seconds that all documents take together, and each query alone."""
    started = time.perf_counter()
    model.embed(documents, prompt_name="document")
    taken = time.perf_counter() - started
    waits = []
    for query in queries:
        started = time.perf_counter()
        model.embed(query, prompt_name="query")
        waits.append(time.perf_counter() - started)
    return taken, waits


if __name__ == "__main__":
    main()
