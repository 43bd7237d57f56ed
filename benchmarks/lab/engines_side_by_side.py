"""Times every engine in one run: tokens per second on 4 texts of 128 tokens, and the ratios between them.

    make -f benchmarks/lab/Makefile engines


C2LLM-0.5B's shape with random weights, on whose values speed does not depend. Interleaved rounds; medians. Then each
alone, in its own process: seconds to open (compile), and peak memory with one text of 2,048 tokens. Checkpoint and
bundles are kept under build/bench, so that a second run is quick.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from c2llm_lite import machine
from c2llm_lite.bundle import Bundle, open_bundle
from c2llm_lite.convert import convert
from c2llm_lite.durable import staged
from c2llm_lite.engines import Engine, open_engine

from ..bench.hardware import Stolen, stamp
from ..bench.results_file import write_results
from .isolated_run import measure
from .random_checkpoint import C2LLM_05B, write_checkpoint

TARGETS = ("torch:fp32", "torch:bf16", "gguf:q8_0", "openvino:int8", "openvino:int4", "openvino:fp32")
OURS = "openvino:int8"
LEAST = {"gguf:q8_0": 3.0, "torch:fp32": 4.0}  # how many times as fast OURS is to be
TEXTS, TOKENS = 4, 128
ROUNDS = 7
LONG_TEXT = 2048
RESULTS = Path(__file__).parents[1] / "results" / "engines_side_by_side.json"
BUILD = Path("build/bench/side_by_side")


def main() -> None:
    """Make the bundles, time them in rotation, measure each alone, and write the results."""
    checkpoint = BUILD / "checkpoint"
    if not checkpoint.exists():
        with staged(checkpoint) as folder:
            write_checkpoint(folder, C2LLM_05B)
    texts: list[list[int]] = []
    seconds: dict[str, list[float]] = {target: [] for target in TARGETS}
    engines: dict[str, Engine] = {}
    queries = np.empty(0, np.float32)
    stolen = Stolen()
    with ExitStack() as opened:
        for target in TARGETS:
            bundle = _bundle(checkpoint, target)
            backbone, head = bundle.manifest.backbone, bundle.manifest.head
            texts = np.random.default_rng(0).integers(0, backbone.vocab, (TEXTS, TOKENS)).tolist()
            queries = np.random.default_rng(0).standard_normal((head.heads, backbone.hidden), dtype=np.float32)
            engines[target] = open_engine(bundle, device="cpu", threads=machine.cores(), max_tokens=TOKENS)
            opened.callback(engines[target].close)
        for repeat in range(ROUNDS + 1):  # the first warms up
            for target, engine in engines.items():
                started = time.perf_counter()
                engine.pool(texts, queries)
                if repeat:
                    seconds[target].append(round(time.perf_counter() - started, 4))
    rates = {target: round(TEXTS * TOKENS / statistics.median(taken), 1) for target, taken in seconds.items()}
    ratios = {peer: round(rates[OURS] / rates[peer], 2) for peer in LEAST}
    alone = {target: measure(_folder(target), LONG_TEXT) for target in TARGETS}
    with tempfile.TemporaryDirectory() as cache:
        for run in ("kept for the next time", "taken from the cache"):
            alone[f"{OURS}, its graph {run}"] = measure(_folder(OURS), LONG_TEXT, Path(cache))
    result: dict[str, Any] = {
        "tokens_per_second": rates,
        "ratios": {peer: {"found": ratios[peer], "least": least} for peer, least in LEAST.items()},
        "seconds": seconds,
        "alone": alone,
        "load": os.getloadavg()[0],
        "stolen": stolen.share(),
        "machine": stamp(),
    }
    write_results(RESULTS, result)
    print(json.dumps({"tokens_per_second": rates, "ratios": ratios, "alone": alone}, indent=1))


def _folder(target: str) -> Path:
    return BUILD / target.replace(":", "-")


def _bundle(checkpoint: Path, target: str) -> Bundle:
    folder = _folder(target)
    if folder.exists():
        return open_bundle(folder)
    made: Bundle = convert(checkpoint, folder, target, target_probes=False)
    return made


if __name__ == "__main__":
    main()
