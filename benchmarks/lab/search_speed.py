"""How long a search among very many vectors takes, and how many of the exact nearest it finds.

    python -m c2llm_lite.benchmarks.lab.search_speed [VECTORS]

200,000 unit vectors of 896, the query's vector given, warm. Two kinds: without any structure, where the first choice
by signs is hardest; and as a code base gives them, in clusters of all sizes around a common mean, the query near one
of them. Exact search over all vectors is timed beside it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from c2llm_lite.pma import Array
from c2llm_lite.search.nearest import Nearest
from c2llm_lite.vectors import normalise

from ..bench.hardware import Stolen, stamp

WIDTH = 896
QUERIES = 200
FOUND = 10
CLUSTER = 40  # vectors, on average
LIMITS = {"p95_ms": 50.0, "recall_at_10": 0.99}
RESULTS = Path(__file__).parents[1] / "results" / "search_speed.json"


def main(count: int) -> None:
    kinds: dict[str, Callable[[int, np.random.Generator], tuple[Array, Array]]] = {
        "no structure": _random,
        "clusters": _clustered,
    }
    result: dict[str, Any] = {"vectors": count, "width": WIDTH, "queries": QUERIES, "limits": LIMITS}
    stolen = Stolen()
    for kind, draw in kinds.items():
        vectors, queries = draw(count, np.random.default_rng(0))
        started = time.perf_counter()
        nearest = Nearest(vectors)
        built = time.perf_counter() - started
        result[kind] = {"seconds_to_build": round(built, 2)} | _measure(nearest, vectors, queries)
        print(kind, json.dumps(result[kind]))
        del nearest, vectors
    result |= {"load": os.getloadavg()[0], "stolen": stolen.share(), "machine": stamp()}
    if count == 200_000:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")


def _measure(nearest: Nearest, vectors: Array, queries: Array) -> dict[str, float]:
    taken, exact_taken, recalls = [], [], []
    nearest.search(queries[0], FOUND)
    for query in queries:
        started = time.perf_counter()
        rows, _ = nearest.search(query, FOUND)
        taken.append(time.perf_counter() - started)
        started = time.perf_counter()
        products = vectors @ query
        best = np.argpartition(products, len(products) - FOUND)[-FOUND:]
        exact_taken.append(time.perf_counter() - started)
        recalls.append(len(set(rows.tolist()) & set(best.tolist())) / FOUND)
    milliseconds = np.percentile(taken, [50, 95]) * 1e3
    exact = np.percentile(exact_taken, [50, 95]) * 1e3
    return {
        "p50_ms": round(float(milliseconds[0]), 2),
        "p95_ms": round(float(milliseconds[1]), 2),
        "recall_at_10": round(float(np.mean(recalls)), 4),
        "exact_p50_ms": round(float(exact[0]), 2),
        "exact_p95_ms": round(float(exact[1]), 2),
    }


def _random(count: int, random: np.random.Generator) -> tuple[Array, Array]:
    vectors = random.standard_normal((count, WIDTH), dtype=np.float32)
    return normalise(vectors), normalise(random.standard_normal((QUERIES, WIDTH), dtype=np.float32))


def _clustered(count: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Random pairs have a cosine of about 0.2, those of a cluster of about 0.7; cluster sizes fall as 1 / rank."""
    clusters = max(1, count // CLUSTER)
    weights = 1 / np.arange(1, clusters + 1)
    members = random.choice(clusters, count + QUERIES, p=weights / weights.sum())
    mean = normalise(random.standard_normal(WIDTH, dtype=np.float32))
    centres = normalise(random.standard_normal((clusters, WIDTH), dtype=np.float32))
    vectors = normalise(random.standard_normal((count + QUERIES, WIDTH), dtype=np.float32))
    vectors *= np.float32(0.3**0.5)
    for start in range(0, len(vectors), 4096):
        part = members[start : start + 4096]
        vectors[start : start + 4096] += np.float32(0.5**0.5) * centres[part] + np.float32(0.2**0.5) * mean
    vectors = normalise(vectors)
    return vectors[:count], vectors[count:]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
