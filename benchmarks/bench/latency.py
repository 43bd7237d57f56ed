"""How long a bundle takes: single queries, texts of four lengths, its start; and the memory it holds.

    python -m c2llm_lite.benchmarks.bench.latency BUNDLE TEXTS.json STARTED OUT.json DEVICE

In a process of its own. TEXTS.json: {"queries": […], "code": "…", "prompt": "…"}; STARTED: when the process was
started, in seconds of time.time(); a compiled graph is in the cache by then, where the engine keeps one. Medians of
REPEATS after a warm-up, with the slowest and the fastest.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

import c2llm_lite
from c2llm_lite import bundle as bundles
from c2llm_lite.durable import durable
from c2llm_lite.embedder import Embedder

from .hardware import Stolen, engine, peak_memory, peak_vram

LENGTHS = (32, 128, 512, 2048)  # tokens
BATCH_TOKENS = 512  # texts of one length together, so that their tokens come to this, or one text
REPEATS = 3
WARM_UP = 3


def main(folder: str, texts: str, started: float, out: Path, device: str) -> None:
    """Time the bundle and write the figures to `out`; started: when the process was asked for, in seconds."""
    given = json.loads(Path(texts).read_text(encoding="utf-8"))
    with c2llm_lite.load(folder, device=device) as model:
        model.embed(given["queries"][0], prompt=given["prompt"])
        cold = time.time() - started
        stolen = Stolen()
        lengths = [length for length in LENGTHS if length <= model.max_tokens]
        found = {
            "cold_start_seconds": round(cold, 2),
            "query_milliseconds": _queries(model, given["queries"], given["prompt"]),
            "by_length": {str(length): _length(model, given["code"], length) for length in lengths},
            "peak_memory": peak_memory(),
            "peak_vram": peak_vram(),
            "engine": engine(model),
            "stolen": stolen.share(),
        }
    with durable(out) as file:
        file.write(json.dumps(found).encode())


def _queries(model: Embedder, queries: list[str], prompt: str) -> dict[str, float]:
    """Milliseconds of one query at a time: the 50th, 95th and 99th percentile."""
    taken = []
    warm_up = queries[:WARM_UP]
    for query in [*warm_up, *queries]:
        begun = time.perf_counter()
        model.embed(query, prompt=prompt)
        taken.append(1000 * (time.perf_counter() - begun))
    return {f"p{q}": round(float(np.percentile(taken[len(warm_up) :], q)), 2) for q in (50, 95, 99)}


def _length(model: Embedder, code: str, length: int) -> dict[str, Any]:
    """Texts of about `length` tokens each, without a prompt: the rates, and what one document takes."""
    tokenizer = Tokenizer.from_file(str(model.bundle.path(bundles.TOKENIZER)))
    texts = cut(tokenizer, code, length, max(1, BATCH_TOKENS // length))
    tokens = sum(len(found.ids) for found in tokenizer.encode_batch_fast(texts, add_special_tokens=False))
    model.embed(texts[:1])
    taken = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        model.embed(texts)
        taken.append(time.perf_counter() - begun)
    return {
        "texts": len(texts),
        "tokens": tokens,
        "documents_per_second": round(len(texts) / statistics.median(taken), 3),
        "tokens_per_second": round(tokens / statistics.median(taken), 1),
        "slowest_and_fastest_tokens_per_second": [round(tokens / seconds, 1) for seconds in (max(taken), min(taken))],
    }


def cut(tokenizer: Tokenizer, code: str, length: int, count: int) -> list[str]:
    """`count` different pieces of `code`, one after another, of `length` tokens, or a few more or less at the seams."""
    ends = [end for _, end in tokenizer.encode(code, add_special_tokens=False).offsets]
    if len(ends) < length * count:
        return cut(tokenizer, f"{code}\n# {len(code)}\n{code}", length, count)
    edges = [0, *ends[length - 1 :: length]]
    return [code[begin:end] for begin, end in itertools.pairwise(edges[: count + 1])]


if __name__ == "__main__":
    bundle, given_texts, when, written, where = sys.argv[1:]
    main(bundle, given_texts, float(when), Path(written), where)
