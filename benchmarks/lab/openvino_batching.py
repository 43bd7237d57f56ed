"""Compares three ways for texts of mixed lengths to share OpenVINO's passes, and records the engine's choice.

    padded   batches of texts near in length, each filled up to its longest, cut before padding passes 2% of tokens
    packed   texts end to end under a dense block-diagonal mask, 512 tokens: as dear as one text of that length
    flat     texts end to end, each attending to its own blocks alone (the paged-attention transformation)

    python -m c2llm_lite.benchmarks.lab.openvino_batching BUNDLE

Lengths are those of the standard library's functions. Interleaved rounds; medians.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer

from c2llm_lite import machine
from c2llm_lite.bundle import OPENVINO_GRAPH, Bundle, open_bundle
from c2llm_lite.engines.openvino import PASS_TOKENS, open_engine
from c2llm_lite.engines.openvino.settings import settings
from c2llm_lite.packing import packs
from c2llm_lite.pma import Array

from ..bench.hardware import Stolen, stamp
from ..bench.pairs import stdlib_pairs
from ..bench.results_file import write_results
from .interleaved import seconds_in_turns

RESULTS = Path(__file__).parents[1] / "results" / "openvino_batching.json"
TEXTS = 48
LONGEST = 1024
CHARACTERS_PER_TOKEN = 3.3  # of Python code under Qwen2's tokenizer, about
PADDING = 0.02
ROUNDS = 5


def main(folder: str) -> None:
    """Time each way to batch and write the results."""
    bundle = open_bundle(folder)
    lengths = _lengths()
    random = np.random.default_rng(0)
    texts = [random.integers(0, bundle.manifest.backbone.vocab, length).tolist() for length in lengths]
    full = list(packs(lengths, tokens=PASS_TOKENS, texts=PASS_TOKENS))
    batches = list(_little_padding(lengths))
    padded = _PaddedGraph(bundle)
    engine = open_engine(bundle, device="cpu", threads=machine.cores(), max_tokens=LONGEST)
    queries = np.zeros((32, bundle.manifest.backbone.hidden), np.float32)

    def run_padded() -> None:
        for batch in batches:
            padded.run(len(batch), max(lengths[i] for i in batch))

    def run_packed() -> None:
        for pack in full:
            padded.run(1, sum(lengths[i] for i in pack))

    def run_flat() -> None:
        for pack in full:
            engine.pool([texts[i] for i in pack], queries)

    slots = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    stolen = Stolen()
    seconds = seconds_in_turns({"padded": run_padded, "packed": run_packed, "flat": run_flat}, ROUNDS)
    result = {
        "target": bundle.manifest.target,
        "texts": len(lengths),
        "tokens": sum(lengths),
        "passes": {"padded": len(batches), "packed": len(full), "flat": len(full)},
        "padding": 1 - sum(lengths) / slots,
        "tokens_per_second": {way: round(sum(lengths) / float(np.median(s)), 1) for way, s in seconds.items()},
        "seconds": {way: [round(taken, 4) for taken in s] for way, s in seconds.items()},
        "load": os.getloadavg()[0],
        "stolen": stolen.share(),
        "machine": stamp(),
    }
    write_results(RESULTS, result)
    print(json.dumps(result["tokens_per_second"]))


class _PaddedGraph:
    """The bundle's graph as it was exported, before the engine's transformation: rectangular batches."""

    def __init__(self, bundle: Bundle) -> None:
        import openvino

        self._hidden = bundle.manifest.backbone.hidden
        compiled = openvino.Core().compile_model(
            bundle.path(OPENVINO_GRAPH), "CPU", settings(bundle.manifest, "CPU", machine.cores())
        )
        self._request: Any = compiled.create_infer_request()

    def run(self, texts: int, tokens: int) -> Array:
        """Random states of `texts` texts of `tokens` tokens each: (texts, tokens, hidden)."""
        self._request.reset_state()
        rows = np.random.default_rng(0).standard_normal((texts, tokens, self._hidden), dtype=np.float32)
        inputs = {
            "inputs_embeds": rows,
            "attention_mask": np.ones((texts, tokens), np.int64),
            "position_ids": np.tile(np.arange(tokens, dtype=np.int64), (texts, 1)),
            "beam_idx": np.arange(texts, dtype=np.int32),
        }
        self._request.infer(inputs, share_inputs=True)
        states: Array = self._request.get_output_tensor(0).data
        return states


def _lengths() -> list[int]:
    """Token counts of some of the held-out functions."""
    pairs = stdlib_pairs()
    chosen = np.random.default_rng(0).choice(len(pairs), TEXTS, replace=False)
    return [min(LONGEST, 4 + round(len(pairs[i].code) / CHARACTERS_PER_TOKEN)) for i in chosen]


def _little_padding(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Batches of at most PASS_TOKENS slots, longest first, each cut before padding passes PADDING."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        slots = (len(batch) + 1) * lengths[batch[0]] if batch else 0
        tokens = sum(lengths[i] for i in batch) + lengths[index]
        if batch and (slots > PASS_TOKENS or tokens < (1 - PADDING) * slots):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


if __name__ == "__main__":
    typer.run(main)
