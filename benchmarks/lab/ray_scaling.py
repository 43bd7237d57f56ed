"""Measures Ray Data's overhead: two single-core actors against one embed() of two threads, and five killed workers.

    python -m c2llm_lite.benchmarks.lab.ray_scaling BUNDLE [TEXTS]

Functions of the standard library, on a cluster of two nodes of one CPU each on this machine. Interleaved rounds;
medians. A rate is counted from the first batch's arrival on, and without its rows: a job's start (workers begun, the
bundle loaded) is reported too. The same dataset through an actor that does nothing shows Ray's own share. Then the
texts go into parts while five workers are killed at random moments, and every row is compared with embed()'s.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import typer

import c2llm_lite
from c2llm_lite.bulk.ray.dataset import embed_column
from c2llm_lite.bulk.ray.nodes import actor_pool
from c2llm_lite.bulk.ray.plan import plan
from c2llm_lite.bulk.ray.run import run
from c2llm_lite.pma import Array

from ..bench.hardware import Stolen, stamp
from ..bench.pairs import stdlib_pairs
from ..bench.results_file import write_results
from .ray_cluster import cluster, kill_worker

RESULTS = Path(__file__).parents[1] / "results" / "ray_scaling.json"
TEXTS = 200
BATCHES = 16  # of a dataset; what two actors leave each other waiting for at the end is less than one
ROUNDS = 3
ACTORS = 2
KILLS = 5
LEAST = {"ratio": 0.9, "cosine": 0.995}  # the second: DESIGN.md's for a quantized bundle


class Nothing:
    """An actor that gives each row a vector of zeros."""

    def __init__(self, dim: int) -> None:
        self._dim = dim

    def __call__(self, batch: pa.Table) -> pa.Table:
        """The batch with a column of zeros."""
        zeros = pa.array(np.zeros(len(batch) * self._dim, np.float32))
        return batch.append_column("embedding", pa.FixedSizeListArray.from_arrays(zeros, self._dim))


def main(bundle: str, count: Annotated[int, typer.Argument(min=1)] = TEXTS) -> None:
    """Time the jobs, kill workers during another, and write the results."""
    texts = [pair.code for pair in stdlib_pairs()][:count]
    batch = -(-len(texts) // BATCHES)
    stolen = Stolen()
    embed_rates: list[float] = []
    jobs: dict[str, list[dict[str, float]]] = {"embed_dataset": [], "no-op": []}
    with c2llm_lite.load(bundle, threads=ACTORS) as model, cluster(nodes=ACTORS):
        tokens = sum(map(len, model.tokenize(texts)))
        model.embed(texts[:8])  # warm
        for _ in range(ROUNDS):
            started = time.perf_counter()
            vectors: Array = model.embed(texts)
            embed_rates.append(round(len(texts) / (time.perf_counter() - started), 2))
            ds = ray.data.from_items(
                [{"id": i, "text": text} for i, text in enumerate(texts)], override_num_blocks=BATCHES
            )
            jobs["embed_dataset"].append(_job(embed_column(ds, bundle, actors=ACTORS, batch_rows=batch)))
            nothing = ds.map_batches(
                Nothing,
                fn_constructor_args=(model.dim,),
                batch_size=batch,
                batch_format="pyarrow",
                compute=actor_pool(ACTORS, in_flight=2),
                num_cpus=1,
            )
            jobs["no-op"].append(_job(nothing))
        killed = _killed(bundle, texts, vectors)
    rates = {way: statistics.median(job["rows_per_second"] for job in found) for way, found in jobs.items()}
    embed_rate = statistics.median(embed_rates)
    result: dict[str, Any] = {
        "bundle": Path(bundle).name,
        "texts": len(texts),
        "tokens": tokens,
        "batch_rows": batch,
        "embed_rows_per_second": embed_rates,
        "jobs": jobs,
        "ratio": {"found": round(rates["embed_dataset"] / embed_rate, 3), "least": LEAST["ratio"]},
        "ray_ms_a_row": round(1e3 / rates["no-op"], 3),
        "ray_share_of_the_time": round(rates["embed_dataset"] / rates["no-op"], 4),
        "killed": killed,
        "load": os.getloadavg()[0],
        "stolen": stolen.share(),
        "machine": stamp(),
    }
    print(json.dumps(result, indent=1))
    if len(texts) == TEXTS:
        write_results(RESULTS, result)


def _job(ds: Any) -> dict[str, float]:
    """rows_per_second: after the first batch; start_seconds: until it; seconds: the whole job's."""
    started = time.perf_counter()
    arrived = [(len(batch["id"]), time.perf_counter()) for batch in ds.iter_batches(batch_size=None)]
    (_, first), (_, last) = arrived[0], arrived[-1]
    rate = sum(rows for rows, _ in arrived[1:]) / (last - first)
    return {
        "rows_per_second": round(rate, 2),
        "start_seconds": round(first - started, 2),
        "seconds": round(last - started, 2),
    }


def _killed(bundle: str, texts: list[str], vectors: Array) -> dict[str, Any]:
    """A run into parts whose workers are killed: rows lost, rows that are there twice, the worst cosine to embed()."""
    moments = random.Random(0)
    with tempfile.TemporaryDirectory() as scratch:
        source, output = Path(scratch) / "texts.jsonl", Path(scratch) / "parts"
        lines = (json.dumps({"text": text, "row": row}) + "\n" for row, text in enumerate(texts))
        source.write_text("".join(lines))
        planned = plan(bundle, [source], output, id_column="row", part_rows=max(1, len(texts) // 64))
        # Kill k comes once a random number of parts in its fifth of them is there.
        share = len(planned.missing) / KILLS
        after = [int(share * (k + 0.8 * moments.random())) for k in range(KILLS)]
        at: list[int] = []

        def kill() -> None:
            while len(at) < KILLS:
                there = len(list(output.glob("*.parquet")))
                if there >= after[len(at)] and kill_worker():
                    at.append(there)
                time.sleep(0.01)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        started = time.perf_counter()
        written = run(planned, actors=ACTORS)
        seconds = time.perf_counter() - started
        killer.join(1)
        found = pq.read_table(output).sort_by("id")
    rows = found["id"].to_pylist()
    made = np.array(found["embedding"].to_pylist(), np.float32)
    worst = float((made * vectors[rows]).sum(axis=1).min())
    return {
        "parts": written.parts,
        "workers_killed_after_parts": at,
        "seconds": round(seconds, 1),
        "rows_lost": len(set(range(len(texts))) - set(rows)),
        "rows_twice": len(rows) - len(set(rows)),
        "worst_cosine": {"found": round(worst, 6), "least": LEAST["cosine"]},
    }


if __name__ == "__main__":
    typer.run(main)
