"""Compares two ways for texts of mixed lengths to share PyTorch's passes, and records the engine's choice.

    flat     texts end to end, attention called text by text: no padding (what engines/torch.py does)
    padded   batches of texts near in length, each filled up to its longest, under transformers' own mask

    python -m c2llm_lite.benchmarks.lab.torch_batching BUNDLE

Texts are functions of the standard library. Interleaved rounds; medians.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

from c2llm_lite import bundle as bundles
from c2llm_lite import machine
from c2llm_lite.engines.torch import open_engine
from c2llm_lite.packing import packs
from c2llm_lite.text import DOCUMENT_PROMPT, TextTokenizer

from ..bench.hardware import Stolen, stamp
from ..bench.pairs import stdlib_pairs
from ..bench.results_file import write_results
from . import transformers_qwen2

RESULTS = Path(__file__).parents[1] / "results" / "torch_batching.json"
TEXTS = 24
BATCH_TOKENS = (256, 512, 1024, 2048, 4096)
ROUNDS = 2


def main(folder: str) -> None:
    """Time each way to batch and write the results."""
    bundle = bundles.open_bundle(folder)
    manifest = bundle.manifest
    texts = [pair.code for pair in stdlib_pairs()[:TEXTS]]
    ids = TextTokenizer(bundle.path(bundles.TOKENIZER), manifest.max_tokens).encode(texts, DOCUMENT_PROMPT)
    lengths = [len(tokens) for tokens in ids]
    queries = np.zeros((manifest.head.heads, manifest.backbone.hidden), np.float32)
    engine = open_engine(bundle, device="cpu", threads=machine.cores(), max_tokens=manifest.max_tokens)
    assert engine._model is not None
    padded = transformers_qwen2.sharing(engine._model, manifest.backbone)
    seconds: dict[str, dict[int, list[float]]] = {
        way: {size: [] for size in BATCH_TOKENS} for way in ("flat", "padded")
    }
    padding: dict[int, float] = {}
    stolen = Stolen()
    for repeat in range(ROUNDS + 1):  # the first warms up
        for size in BATCH_TOKENS:
            batches = list(packs(lengths, tokens=size, texts=engine.batch_texts))
            slots = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
            padding[size] = round(1 - sum(lengths) / slots, 4)
            for way, taken in seconds.items():
                started = time.perf_counter()
                for batch in batches:
                    if way == "flat":
                        engine.batch_tokens = size
                        engine.pool([ids[i] for i in batch], queries)
                    else:
                        _padded(padded, [lengths[i] for i in batch])
                if repeat:
                    taken[size].append(round(time.perf_counter() - started, 3))
    rates = {
        way: {size: round(sum(lengths) / statistics.median(runs), 1) for size, runs in taken.items()}
        for way, taken in seconds.items()
    }
    result = {
        "target": manifest.target,
        "texts": TEXTS,
        "tokens": sum(lengths),
        "tokens_per_second_by_batch_tokens": rates,
        "padding_by_batch_tokens": padding,
        "seconds": seconds,
        "stolen": stolen.share(),
        "on": stamp(),
    }
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    write_results(RESULTS, found | {manifest.target: result})
    print(json.dumps({"tokens_per_second": rates, "padding": padding}))


def _padded(model: Any, lengths: list[int]) -> None:
    """One pass of random states under a padding mask, as transformers runs it."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    rows = torch.randn(*mask.shape, model.config.hidden_size).to(model.dtype)
    with torch.inference_mode():
        model(inputs_embeds=rows, attention_mask=mask, use_cache=False)


if __name__ == "__main__":
    typer.run(main)
