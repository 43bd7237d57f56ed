"""C2LLM-7B's shape, weights drawn on the card: tokens a second, and memory beside what was computed for it."""

from __future__ import annotations

from collections.abc import Iterator

from c2llm_lite.bundle import NF4, Backbone
from c2llm_lite.engines.torch.attention import attention_for
from c2llm_lite.engines.torch.backbone import DTYPES

from ..nf4_memory import sizes
from . import drawn
from .card import Card
from .rates import DRY, Row, measured, mixed_lengths


def big(card: Card, shape: Backbone, kinds: tuple[str, ...]) -> Iterator[Row]:
    """One row a kind and set of texts."""
    for kind in kinds:
        card.forget()
        try:
            model = drawn.draw(shape, kind, card.device, attention_for(card.device, DTYPES[kind], shape.head_dim))
        except ImportError as error:
            yield {"kind": kind, "skipped": str(error)}
            continue
        engine = drawn.engine(model, shape, kind, card.device)
        yield {"kind": kind, "weights_bytes": card.held()} | ({"computed": sizes(shape)} if kind == NF4 else {})
        for name, lengths in {"512": [512] * 8, "mixed": mixed_lengths(128 if card.cuda else DRY)}.items():
            yield {"kind": kind, "tokens_a_text": name} | measured(card, shape, engine, lengths)
        del model, engine
