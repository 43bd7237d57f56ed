"""Where a pass spends its time: PyTorch's own profile of bf16 at C2LLM-0.5B's shape."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.profiler import ProfilerActivity

from c2llm_lite.bundle import BF16, Backbone
from c2llm_lite.engines.torch.attention import attention_for

from . import drawn
from .card import Card
from .rates import HEADS, Row

TEXT = 512
KERNELS = 20


def profile(card: Card, shape: Backbone) -> Iterator[Row]:
    """One row an operation, the longest first."""
    model = drawn.draw(shape, BF16, card.device, attention_for(card.device, torch.bfloat16, shape.head_dim))
    engine = drawn.engine(model, shape, BF16, card.device)
    draw = np.random.default_rng(0)
    text = min(TEXT, shape.max_positions)
    texts = draw.integers(0, min(shape.vocab, drawn.ROWS), (max(1, engine.batch_tokens // text), text)).tolist()
    queries = draw.standard_normal((HEADS, shape.hidden), np.float32)
    engine.pool(texts, queries)
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if card.cuda else [])]
    with torch.profiler.profile(activities=kinds) as found:
        engine.pool(texts, queries)
        card.wait()
    took = "self_device_time_total" if card.cuda else "self_cpu_time_total"
    events = sorted(found.key_averages(), key=lambda event: -getattr(event, took))
    whole = sum(getattr(event, took) for event in events)
    for event in events[:KERNELS]:
        spent = getattr(event, took)
        row = {"operation": event.key, "calls": event.count}
        yield row | {"microseconds": round(spent), "share": round(spent / whole, 4)}
