"""Measures where embed()'s time goes: tokenizing, the forward pass, the head; and the efficiency of int8 products.

    python -m c2llm_lite.benchmarks.lab.time_shares BUNDLE...

Tokenizing, the engine and the head are timed alone, on the same texts and on states of the same shape, and told as
shares of the whole: tokenizing and the head are the most that running them beside the forward pass could save.
Products (OpenVINO): each of the graph's shapes alone, compiled with the engine's settings, against one pass of the
engine: the share that the products would take at their best. Random weights tell all of this.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import typer

import c2llm_lite
from c2llm_lite import blas, machine
from c2llm_lite.bundle import OPENVINO_GRAPH, Bundle, open_bundle
from c2llm_lite.embedder import Embedder
from c2llm_lite.engines import openvino as engine
from c2llm_lite.engines.openvino.settings import settings as settings_of
from c2llm_lite.pma import pool_parts

from ..bench.hardware import Stolen, stamp
from ..bench.pairs import stdlib_pairs
from ..bench.results_file import write_results
from .interleaved import seconds_in_turns
from .profiled_graph import open_profiled, seconds_by_operation

TEXTS = 24  # documents, and queries
ROUNDS = 5
REPEATS = 10  # of one product, one after another: its weights then stay in the cache
PASS = 128  # tokens of each of the texts that fill one pass
RESULTS = Path(__file__).parents[1] / "results" / "time_shares.json"


def main(folders: list[Path]) -> None:
    """Measure each bundle and write the results."""
    rows, stolen = {}, Stolen()
    for folder in folders:
        bundle = open_bundle(folder)
        with c2llm_lite.load(folder) as model:
            rows[bundle.manifest.target] = {"texts": _texts(model)}
        if bundle.manifest.target == "openvino:int8":
            rows[bundle.manifest.target] |= _products(bundle)
    result = {"bundles": rows, "rounds": ROUNDS, "stolen": stolen.share(), "on": stamp()}
    write_results(RESULTS, result)
    print(json.dumps(rows, indent=1))


def _texts(model: Embedder) -> dict[str, Any]:
    """Shares of the time of documents, of queries, and of a query alone."""
    pairs = stdlib_pairs()
    pairs = pairs[:: len(pairs) // TEXTS][:TEXTS]
    documents, queries = [pair.code for pair in pairs], [pair.query for pair in pairs]
    found = {}
    for kind, name, texts in (
        ("document", "document", documents),
        ("query", "query", queries),
        ("one query", "query", queries[:1]),
    ):
        prompt = model.prompts[name]
        ids = model.tokenize(texts, prompt=prompt)
        found[kind] = _shares(
            {
                "whole": partial(model.embed, texts, prompt_name=name),
                "tokenizing": partial(model.tokenize, texts, prompt=prompt),
                "engine and head": partial(model.embed_tokens, ids, prompt=prompt),
                "head": _head(model, [len(tokens) for tokens in ids]),
            }
        )
    return found


def _head(model: Embedder, lengths: list[int]) -> Callable[[], object]:
    """The pooling and the head on states of texts of `lengths` tokens."""
    head = model._head
    states = np.random.default_rng(0).standard_normal((max(lengths), head.hidden), dtype=np.float32)

    def run() -> object:
        with blas.one_thread():
            return head.embed(pool_parts(((i, states[:n]) for i, n in enumerate(lengths)), len(lengths), head.queries))

    return run


def _shares(parts: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The whole's median seconds, and the share of it that each other part takes: medians of rounds."""
    seconds = seconds_in_turns(parts, ROUNDS)
    whole = seconds.pop("whole")
    found = {"seconds": round(statistics.median(whole), 4)}
    for part, taken in seconds.items():
        found[part] = round(statistics.median(a / b for a, b in zip(taken, whole, strict=True)), 4)
    return found


def _products(bundle: Bundle) -> dict[str, Any]:
    """One pass of the engine; its products alone; what OpenVINO's own profile says of each kind of operation."""
    core, path = engine.process_core(), bundle.path(OPENVINO_GRAPH)
    settings = settings_of(bundle.manifest, "CPU", machine.cores())
    backbone = open_profiled(bundle)
    ids = np.random.default_rng(0).integers(0, bundle.manifest.backbone.vocab, (engine.PASS_TOKENS // PASS, PASS))
    queries = np.zeros((1, bundle.manifest.backbone.hidden), np.float32)

    shapes: Counter[tuple[int, int]] = Counter()
    alone: dict[str, Callable[[], object]] = {}
    for product in core.read_model(path).get_ops():
        if product.get_type_name() != "MatMul" or not product.input_value(1).get_partial_shape().is_static:
            continue  # or the rotary angles'
        rows, columns = product.input_value(1).get_shape()
        if not shapes[rows, columns]:
            alone[f"{rows} x {columns}"] = _alone(core, product, columns, settings)
        shapes[rows, columns] += 1

    seconds = seconds_in_turns({"pass": lambda: backbone.pool(ids.tolist(), queries)} | alone, ROUNDS)
    whole = statistics.median(seconds.pop("pass"))
    least = {shape: min(taken) / REPEATS for shape, taken in seconds.items()}
    best = sum(count * least[f"{rows} x {columns}"] for (rows, columns), count in shapes.items())
    operations = 2 * engine.PASS_TOKENS * sum(rows * columns * count for (rows, columns), count in shapes.items())
    return {
        "one pass": {
            "tokens": engine.PASS_TOKENS,
            "seconds": round(whole, 4),
            "products at their best, seconds": round(best, 4),
            "share of the best": round(best / whole, 3),
            "operations a second": operations / whole,
            "products alone, least seconds": {shape: round(taken, 5) for shape, taken in least.items()},
            "profile": _profile(seconds_by_operation(backbone)),
        }
    }


def _alone(core: Any, product: Any, columns: int, settings: dict[str, Any]) -> Callable[[], object]:
    """One product over a pass's tokens, with its weights as the graph holds them."""
    from openvino import Model
    from openvino import opset13 as ops

    given = ops.parameter([1, engine.PASS_TOKENS, columns], np.float32)
    product.input(0).replace_source_output(given.output(0))
    request = core.compile_model(
        Model([ops.result(product.output(0))], [given]), "CPU", settings
    ).create_infer_request()
    request.input_tensors[0].data[...] = np.random.default_rng(0).standard_normal(given.shape)

    def run() -> None:
        for _ in range(REPEATS):
            request.infer()

    return run


def _profile(seconds: Counter[str]) -> dict[str, float]:
    """The share of one pass that each kind of operation takes, those over a hundredth."""
    whole = sum(seconds.values())
    return {kind: round(taken / whole, 3) for kind, taken in seconds.most_common() if taken > whole / 100}


if __name__ == "__main__":
    typer.run(main)
