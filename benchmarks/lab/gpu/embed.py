"""`embed()` beside the engine's own rate: a checkpoint of C2LLM-0.5B's shape, converted, loaded and given code."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import c2llm_lite
from c2llm_lite.bundle import Backbone
from c2llm_lite.convert import convert

from ...bench.pairs import stdlib_pairs
from ..random_checkpoint import write_checkpoint
from .card import Card
from .rates import Row, timed

TEXTS = 512
WINDOW = 128  # texts tokenized at once, where that is done beside a running pass


def embed(card: Card, shape: Backbone) -> Iterator[Row]:
    """Rows: how long converting and loading take, then tokens a second on functions and one query's time.

    Tokenizing alone, and beside the running passes: what a thread for it in the product would gain.
    """
    texts = [pair.code for pair in stdlib_pairs()[: TEXTS if card.cuda else 4]]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"
        checkpoint.mkdir()
        write_checkpoint(checkpoint, shape)
        for target in ("torch:bf16", "torch:fp32"):
            started = time.perf_counter()
            bundle = convert(checkpoint, Path(folder) / target.replace(":", "_"), target, target_probes=False).folder
            converted = time.perf_counter()
            with c2llm_lite.load(bundle, device=card.device.type) as model:
                model.embed("x")
                loaded = time.perf_counter()
                told = {"target": target, "convert_seconds": round(converted - started, 1)}
                yield told | {"load_seconds": round(loaded - converted, 2), "held_bytes": card.held()}
                tokens = sum(len(ids) for ids in model.tokenize(texts))
                documents, query = partial(model.embed, texts), partial(model.embed, "where is the file opened")
                yield {"target": target, "documents": len(texts)} | timed(card, documents, tokens, shape)
                yield {"target": target, "tokenized": "alone"} | timed(
                    card, partial(model.tokenize, texts), tokens, shape
                )
                beside = partial(tokenized_beside, model, texts)
                yield {"target": target, "tokenized": "beside"} | timed(card, beside, tokens, shape)
                yield {"target": target, "one_query_ms": round(1e3 * card.seconds(query), 2)}


def tokenized_beside(model: c2llm_lite.Embedder, texts: Sequence[str]) -> None:
    """Embed texts, window after window, each tokenized in a thread while the one before it runs."""
    windows = [texts[i : i + WINDOW] for i in range(0, len(texts), WINDOW)]
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(model.tokenize, windows[0])
        for following in [*windows[1:], []]:
            ids = coming.result()
            coming = thread.submit(model.tokenize, following)
            model.embed_tokens(ids)
