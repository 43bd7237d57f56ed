"""Times a search among very many vectors.

    python -m c2llm_lite.benchmarks.lab.search_speed [VECTORS]

200,000 unit vectors of 896, the query's vector given, warm.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from c2llm_lite.search.nearest import nearest
from c2llm_lite.vectors import normalize

from ..bench.hardware import Stolen, stamp
from ..bench.results_file import write_results

WIDTH = 896
QUERIES = 200
FOUND = 10
RESULTS = Path(__file__).parents[1] / "results" / "search_speed.json"


def main(count: Annotated[int, typer.Argument(min=1)] = 200_000) -> None:
    """Time the search and write the results."""
    random = np.random.default_rng(0)
    vectors = normalize(random.standard_normal((count, WIDTH), dtype=np.float32))
    queries = normalize(random.standard_normal((QUERIES, WIDTH), dtype=np.float32))
    stolen = Stolen()
    nearest(vectors, queries[0], FOUND)
    taken = []
    for query in queries:
        started = time.perf_counter()
        nearest(vectors, query, FOUND)
        taken.append(time.perf_counter() - started)
    median, slow = np.percentile(taken, [50, 95]) * 1e3
    result = {
        "vectors": count,
        "width": WIDTH,
        "queries": QUERIES,
        "p50_ms": round(float(median), 2),
        "p95_ms": round(float(slow), 2),
        "load": os.getloadavg()[0],
        "stolen": stolen.share(),
        "machine": stamp(),
    }
    print(json.dumps(result))
    if count == 200_000:
        write_results(RESULTS, result)


if __name__ == "__main__":
    typer.run(main)
