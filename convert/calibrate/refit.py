"""Refits the head to a backbone that ends early: from its engine's states to the full model's embeddings.

A ridge map of the states to the full model's last ones comes first (recovery.py), then distillation from there, which
is kept if it wins on held-back texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from c2llm_lite import pma
from c2llm_lite.bundle import MAP_BIAS, MAP_MATRIX
from c2llm_lite.pma import Array
from c2llm_lite.progress import bar

from ..checkpoint import Checkpoint
from .absorbed_head import stored
from .distillation import STEPS, Texts, distill, embeddings
from .layers import Calibration
from .recovery import engine_states, fit, full_states

HELD_BACK = 8  # one text in so many


class Refit(NamedTuple):
    """What a bundle stores of the head, and what its manifest notes of it: the losses on held-back texts."""

    tensors: dict[str, Array]
    note: dict[str, Any]


def refit(checkpoint: Checkpoint, folder: Path, calibration: Calibration) -> Refit:
    """The head for the bundle in `folder`, which has the first layers of `checkpoint`.

    Raises CannotRunHereError if this machine cannot run it; BundleError if the bundle crashes or gives NaN.
    """
    full = full_states(checkpoint, calibration)
    with engine_states(folder, calibration) as states:
        found = distilled(checkpoint, states, full, origins=calibration.origins, progress=calibration.progress)
        losses = found.note["held_back"]
        if losses["distilled"] < losses["ridge"]:
            return found
        return Refit(mapped(checkpoint, states, full), found.note | {"head": "ridge"})


def mapped(checkpoint: Checkpoint, states: Sequence[Array], full: Sequence[Array]) -> dict[str, Array]:
    """The head's tensors with the ridge map from an engine's states to the full model's, each (tokens, hidden)."""
    found = fit(states, full)
    return checkpoint.head() | {MAP_MATRIX: found.matrix, MAP_BIAS: found.bias}


def distilled(
    checkpoint: Checkpoint,
    states: Sequence[Array],
    full: Sequence[Array],
    *,
    origins: Sequence[int] | None = None,
    progress: bool = False,
    seed: int = 0,
) -> Refit:
    """The distilled head; states, full: as in mapped(); origins: as Calibration's. The same seed gives the same head.

    A text that judges has no variants among those that the head is fitted on.
    """
    tensors = checkpoint.head()
    wanted = embeddings(pma.Head(tensors, checkpoint.variant), full)
    of = range(len(states)) if origins is None else origins
    judging = [text for text in range(len(states)) if of[text] == text and text % HELD_BACK == HELD_BACK - 1]
    fitted = [text for text in range(len(states)) if of[text] % HELD_BACK != HELD_BACK - 1]
    start = fit([states[i] for i in fitted], [full[i] for i in fitted])  # without those that judge
    head = pma.Head(tensors, checkpoint.variant, start)
    with bar("fitting the head", STEPS, "steps", show=progress) as advance:
        found = distill(
            head,
            Texts([states[i] for i in fitted], wanted[fitted]),
            Texts([states[i] for i in judging], wanted[judging]),
            advance,
            seed=seed,
        )
    losses = {
        "fitted": len(fitted),
        "texts": len(judging),
        "ridge": round(found.loss_before, 4),
        "distilled": round(found.loss, 4),
    }
    return Refit(stored(tensors, head, found.parameters), {"head": "distilled", "held_back": losses})
