"""Tokens a second at C2LLM-0.5B's shape: each type, each way to attend, texts of each length, beside transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from c2llm_lite.bundle import BF16, FP32, Backbone
from c2llm_lite.engines.torch import TorchEngine
from c2llm_lite.engines.torch.attention import in_blocks
from c2llm_lite.engines.torch.backbone import DTYPES
from c2llm_lite.engines.torch.qwen2 import Qwen2
from c2llm_lite.engines.torch.texts import Texts
from c2llm_lite.packing import packs

from ..transformers_qwen2 import sharing
from . import candidates, drawn
from .card import Card

HEADS = 32  # of the pooling head
PASSES = (4096, 16384, 65536)  # tokens; the product's is the second
MIXED = 1024  # texts, their lengths near those of functions: half are under 120 tokens, few reach 2,048
DRY = 8  # texts of a dry run
MEDIAN, SPREAD, SHORTEST, LONGEST = 120, 0.9, 8, 2048
QUERY, FEW = 32, (1, 8)  # tokens; texts
PADDED_BATCHES = (16, 64, 256)  # texts of one of transformers' batches
Row = dict[str, Any]


def rates(card: Card, shape: Backbone, lengths: tuple[int, ...], kinds: tuple[str, ...]) -> Iterator[Row]:
    """One row a measurement, as soon as it is made; a kind or way that does not run here gives a row that says why."""
    mixed = mixed_lengths(MIXED if card.cuda else DRY)
    for kind in kinds:
        try:
            model = drawn.draw(shape, kind, card.device, in_blocks)
        except ImportError as error:
            yield {"kind": kind, "skipped": str(error)}
            continue
        engine = drawn.engine(model, shape, kind, card.device)
        yield {"kind": kind, "weights_bytes": card.held()}
        tokens = engine.batch_tokens if card.cuda else max(lengths)
        sets = {str(length): [length] * (tokens // length) for length in lengths} | {"mixed": mixed}
        ways = candidates.attentions(card.device, DTYPES[kind], shape.head_dim)
        for fused in (False, True) if kind in (BF16, FP32) else (False,):
            if fused:
                candidates.fuse(model)
            for way, attend in ways.items():
                model.attend = attend
                told = {"kind": kind, "attention": way, "fused": fused}
                for name, of in sets.items():
                    yield told | {"tokens_a_text": name} | measured(card, shape, engine, of)
        if kind == BF16:
            model.attend = next(iter(ways.values()))
            yield from _few(card, shape, engine, model)
            yield from _passes(card, shape, engine, mixed)
            yield from transformers(card, shape, model, mixed)
        del model, engine
        card.forget()


def mixed_lengths(texts: int) -> list[int]:
    """Of so many texts, drawn."""
    found = np.random.default_rng(0).lognormal(np.log(MEDIAN), SPREAD, texts)
    return [int(length) for length in found.clip(SHORTEST, LONGEST)]


def measured(card: Card, shape: Backbone, engine: TorchEngine, lengths: list[int]) -> Row:
    """The engine's own `pool` over texts of these lengths, pack by pack, as embed() calls it."""
    draw = np.random.default_rng(0)
    texts = [draw.integers(0, min(shape.vocab, drawn.ROWS), length).tolist() for length in lengths]
    queries = draw.standard_normal((HEADS, shape.hidden), np.float32)
    cuts = list(packs(lengths, tokens=engine.batch_tokens, texts=engine.batch_texts))

    def run() -> None:
        for cut in cuts:
            engine.pool([texts[i] for i in cut], queries)

    return timed(card, run, sum(lengths), shape)


def timed(card: Card, run: Callable[[], object], tokens: int, shape: Backbone) -> Row:
    """Tokens a second, the operations that this means, and the memory it took; or why it did not run."""
    card.forget()
    try:
        seconds = card.seconds(run)
    except Exception as error:  # a way that fails on this card is a result
        return {"failed": f"{type(error).__name__}: {str(error)[:200]}"}
    rate = tokens / seconds
    return {
        "tokens": tokens,
        "tokens_a_second": round(rate),
        "tflops": round(2 * drawn.parameters(shape) * rate / 1e12, 2),
        "peak_bytes": card.peak(),
    }


def _few(card: Card, shape: Backbone, engine: TorchEngine, model: Qwen2) -> Iterator[Row]:
    """One query, and eight: what launching kernels costs, since a graph launches all of them at once."""
    queries = np.random.default_rng(0).standard_normal((HEADS, shape.hidden), np.float32)
    for texts in FEW:
        batch = [list(range(QUERY))] * texts
        row: Row = {"kind": BF16, "texts": texts, "tokens_a_text": str(QUERY)}
        row["pool_milliseconds"] = round(1e3 * card.seconds(partial(engine.pool, batch, queries)), 3)
        rows = torch.randn(texts * QUERY, shape.hidden, device=card.device, dtype=torch.bfloat16)
        layout = Texts([QUERY] * texts, card.device)
        try:
            with torch.inference_mode():
                run = partial(model.forward, rows, layout)
                row["forward_milliseconds"] = round(1e3 * card.seconds(run), 3)
                row["graph_milliseconds"] = round(1e3 * card.seconds(card.captured(run)), 3)
        except RuntimeError as error:  # what cannot be captured is a result
            row["failed"] = str(error)[:200]
        yield row


def _passes(card: Card, shape: Backbone, engine: TorchEngine, mixed: list[int]) -> Iterator[Row]:
    """How many tokens of a pass are best."""
    ours = engine.batch_tokens
    for tokens in PASSES:
        engine.batch_tokens = tokens
        yield {"kind": BF16, "pass_tokens": tokens, "tokens_a_text": "mixed"} | measured(card, shape, engine, mixed)
    engine.batch_tokens = ours


def transformers(card: Card, shape: Backbone, model: Qwen2, mixed: list[int]) -> Iterator[Row]:
    """transformers' own Qwen2, its backbone alone: batches sorted by length, filled up to the longest, under a mask."""
    told = {"kind": BF16, "attention": "transformers, padded", "tokens_a_text": "mixed"}
    try:
        theirs = sharing(model, shape)
    except ImportError as error:
        yield told | {"skipped": str(error)}
        return
    in_order = sorted(mixed, reverse=True)
    for texts in PADDED_BATCHES:
        batches = [in_order[i : i + texts] for i in range(0, len(in_order), texts)]
        masks = [torch.arange(max(b)) < torch.tensor(b)[:, None] for b in batches]
        inputs = [
            (torch.randn(*mask.shape, shape.hidden, dtype=torch.bfloat16).to(card.device), mask.to(card.device))
            for mask in masks
        ]

        def run(inputs: list[tuple[torch.Tensor, torch.Tensor]] = inputs) -> None:
            with torch.inference_mode():
                for rows, mask in inputs:
                    theirs(inputs_embeds=rows, attention_mask=mask, use_cache=False)

        yield told | {"texts_a_batch": texts} | timed(card, run, sum(mixed), shape)
