"""Compares the speed of this package on a CPU with the alternatives that users would choose.

    make -f benchmarks/lab/Makefile peers

C2LLM-0.5B's shape with random weights, on whose values speed does not depend; the stand-in's tokenizer. Peers are set
up at the batch sizes that suit them best, tried first, for documents and queries apart. Then rounds: each takes the
same functions and queries through every way, one after another; a ratio is taken within a round, and its median told.
"""

from __future__ import annotations

import json
import random
import shutil
import sysconfig
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
import typer

import c2llm_lite
from c2llm_lite import machine
from c2llm_lite.convert import convert
from c2llm_lite.convert.calibrate.documented_code import Pair, pairs_in
from c2llm_lite.convert.checkpoint import Checkpoint, open_checkpoint
from c2llm_lite.durable import staged
from c2llm_lite.embedder import Embedder
from c2llm_lite.pma import Array
from c2llm_lite.progress import bar
from c2llm_lite.text import prompts

from ..bench import plots
from ..bench.hardware import Stolen, stamp
from ..bench.results_file import write_results
from ..bench.subjects import parted
from .interleaved import spread
from .peer_models import (
    Llama,
    Peer,
    export_for_onnx,
    export_for_optimum,
    onnx,
    optimum,
    transformers,
    write_for_transformers,
)
from .random_checkpoint import C2LLM_05B, write_checkpoint

FUNCTIONS, QUERIES = 2000, 500  # drawn from
TRIED, A_ROUND, QUERIES_A_ROUND = 8, 24, 24
ROUNDS = 5
REST = 0.3  # seconds between two ways, in which the last one's threads stop spinning
STATIC = "openvino:int8-static"
HALF, TWO_THIRDS = "openvino:int8@12", "openvino:int8@16"  # of 24 layers
OURS = (STATIC, "openvino:int8", TWO_THIRDS, HALF, "gguf:q8_0", "gguf:q6_k", "gguf:q4_k", "gguf:q4_0", "gguf:iq4_nl")
CALIBRATED_ON = 8  # functions; with random weights no more than the form of the result matters
# (theirs, ours, least ratio of documents a second, of queries a second)
LEAST = (
    ("transformers fp32", STATIC, 5.0, None),
    ("transformers fp32", "openvino:int8", None, None),
    ("transformers fp32", TWO_THIRDS, 5.0, None),
    ("transformers fp32", HALF, 6.0, None),
    ("transformers bf16", STATIC, 1.4, None),
    ("transformers bf16", "openvino:int8", None, None),
    ("optimum-intel int8", "openvino:int8", 1.4, 2.0),
    ("optimum-intel int8, group 128", "openvino:int8", 1.4, 2.0),
    ("ONNX Runtime int8", "openvino:int8", 1.4, 2.0),
    ("transformers fp32", "gguf:q8_0", 1.0, None),
    ("transformers fp32", "gguf:q6_k", None, None),
    ("transformers fp32", "gguf:q4_k", None, None),
    ("transformers fp32", "gguf:q4_0", 2.0, None),
    ("Llama.embed Q8_0", "gguf:q8_0", 1.25, None),
    ("Llama.embed Q8_0", "gguf:q4_0", 2.2, None),
    ("Llama.embed Q8_0", "gguf:iq4_nl", 2.2, None),
)
BUILD = Path("build/bench/peers")
RESULTS = Path(__file__).parents[1] / "results" / "peers.json"
Way = Callable[[Sequence[str], str], Array]  # texts and the name of their prompt -> vectors


def main(tokenizer: Path) -> None:
    """Set up each way, time them in rotation, and write the results and the picture."""
    checkpoint = _checkpoint(tokenizer)
    torch.set_num_threads(machine.cores())
    documents, queries = _texts()
    draw = random.Random(0)
    stolen = Stolen()
    with ExitStack() as opened:
        chosen = _peers(checkpoint, documents[:TRIED], queries[:TRIED])
        ways: dict[str, Way] = {name: partial(_theirs, peer, sizes) for name, (peer, sizes) in chosen.items()}
        for target in OURS:
            folder = BUILD / target.replace(":", "-")
            if not folder.exists():
                kind, layers = parted(target)
                texts = {"document": documents[-CALIBRATED_ON:]} if target == STATIC or layers else None
                convert(checkpoint.folder, folder, kind, target_probes=False, calibrate=texts, layers=layers)
            ways[target] = partial(_ours, opened.enter_context(c2llm_lite.load(folder)))
        seconds: dict[str, dict[str, list[float]]] = {
            name: {"document": [], "query": [], "one query": []} for name in ways
        }
        with bar("rounds", ROUNDS * len(ways), "ways") as advance:
            for _ in range(ROUNDS):
                texts = {"document": draw.sample(documents, A_ROUND), "query": draw.sample(queries, QUERIES_A_ROUND)}
                for name, way in ways.items():
                    for kind, given in texts.items():
                        seconds[name][kind].append(_timed(way, given, kind))
                    seconds[name]["one query"] += [_timed(way, [query], "query") for query in texts["query"][:4]]
                    advance(1)
    result = {
        "functions": A_ROUND * ROUNDS,
        "queries": QUERIES_A_ROUND * ROUNDS,
        "rounds": ROUNDS,
        "ways": {name: _rates(taken) for name, taken in seconds.items()},
        "batches": {name: sizes for name, (_, sizes) in chosen.items()},
        "ratios": [_ratio(seconds, *row) for row in LEAST],
        "seconds": seconds,
        "stolen": stolen.share(),
        "on": stamp(),
    }
    write_results(RESULTS, result)
    plots.peers(result, RESULTS.with_suffix(".png"))
    print(json.dumps({part: result[part] for part in ("ways", "batches", "ratios")}, indent=1))


def _checkpoint(tokenizer: Path) -> Checkpoint:
    folder = BUILD / "checkpoint"
    if not folder.exists():
        with staged(folder) as made:
            write_checkpoint(made, C2LLM_05B)
            shutil.copyfile(tokenizer, made / "tokenizer.json")
    return open_checkpoint(folder)


def _texts() -> tuple[list[str], list[str]]:
    """Functions and docstrings of the standard library, drawn once, in a fixed order."""
    found: list[Pair] = list({pair.sha256: pair for pair in pairs_in(Path(sysconfig.get_path("stdlib")))}.values())
    random.Random(1).shuffle(found)
    return [pair.code for pair in found[:FUNCTIONS]], [pair.query for pair in found[:QUERIES]]


def _peers(
    checkpoint: Checkpoint, documents: Sequence[str], queries: Sequence[str]
) -> dict[str, tuple[Peer, dict[str, int]]]:
    """Each peer with the batch sizes that were fastest on a few documents and a few queries."""
    folder = BUILD / "transformers"
    if not folder.exists():
        with staged(folder) as made:
            write_for_transformers(checkpoint, made)
    exported = BUILD / "optimum"
    if not exported.exists():
        with staged(exported) as made:
            export_for_optimum(folder, made)
    as_onnx = BUILD / "onnx"
    if not as_onnx.exists():
        with staged(as_onnx) as made:
            export_for_onnx(folder, made)
    peers: dict[str, Peer] = {
        "transformers fp32": transformers(checkpoint, folder, torch.float32),
        "transformers bf16": transformers(checkpoint, folder, torch.bfloat16),
        "optimum-intel int8": optimum(checkpoint, exported, None),
        "optimum-intel int8, group 128": optimum(checkpoint, exported, 128),
        "ONNX Runtime int8": onnx(checkpoint, as_onnx, machine.cores()),
        "Llama.embed Q8_0": Llama(checkpoint, BUILD / "ordinary-q8_0.gguf", machine.cores()),
    }
    chosen = {}
    for name, peer in peers.items():
        sizes = {}
        for kind, given in (("document", documents), ("query", queries)):
            _theirs(peer, {kind: peer.batches[0]}, given[:1], kind)
            tried = {size: _timed(partial(_theirs, peer, {kind: size}), given, kind) for size in peer.batches}
            sizes[kind] = min(tried, key=lambda size: tried[size])
        chosen[name] = peer, sizes
    return chosen


def _theirs(peer: Peer, sizes: dict[str, int], texts: Sequence[str], kind: str) -> Array:
    prompt = prompts()[kind]
    return peer.embed([prompt + text for text in texts], sizes[kind])


def _ours(model: Embedder, texts: Sequence[str], kind: str) -> Array:
    found: Array = model.embed(list(texts), prompt_name=kind)
    return found


def _timed(way: Way, texts: Sequence[str], kind: str) -> float:
    time.sleep(REST)
    started = time.perf_counter()
    way(texts, kind)
    return round(time.perf_counter() - started, 4)


def _rates(taken: dict[str, list[float]]) -> dict[str, Any]:
    return {
        "documents_per_second": spread([A_ROUND / seconds for seconds in taken["document"]]),
        "queries_per_second": spread([QUERIES_A_ROUND / seconds for seconds in taken["query"]]),
        "one_query_milliseconds": spread([1000 * seconds for seconds in taken["one query"]]),
    }


def _ratio(
    seconds: dict[str, dict[str, list[float]]], theirs: str, ours: str, documents: float | None, queries: float | None
) -> dict[str, Any]:
    """How many times as fast ours is: the median over rounds, with the lowest and the highest."""
    found: dict[str, Any] = {"theirs": theirs, "ours": ours}
    for kind, least in (("document", documents), ("query", queries)):
        rounds = zip(seconds[theirs][kind], seconds[ours][kind], strict=True)
        found[kind] = spread([them / us for them, us in rounds]) | {"least": least}
    return found


if __name__ == "__main__":
    typer.run(main)
