"""Distillation: a head trained on the states of a backbone that ends early, towards the full model's embeddings.

The backbone stays as it is, and its states are computed once, so that training takes a minute. It brings each embedding
near to the full model's, and the similarities of a batch's texts near to theirs (relational distillation, arXiv
1904.05068): which text is the nearest decides a search.

    loss = mean(1 - cosine) + 0.2 · KL(softmax(full model's similarities / 0.05) || softmax(ours / 0.05))

Held-back texts judge the head every few steps. The best one is kept, which may be the one that training started from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from c2llm_lite.pma import Array, Head
from c2llm_lite.progress import Advance
from c2llm_lite.vectors import normalize

from .absorbed_head import Floats, Parameters, Pass, parameters

STEPS, STEPS_BETWEEN, WARM_UP = 1200, 50, 100
BATCH = 96
RATE = 1e-3
BETAS, EPS = (0.9, 0.999), 1e-8  # Adam's, arXiv 1412.6980
TEMPERATURE, KL_SHARE = 0.05, 0.2
NEVER = -1e4  # a text's similarity to itself, which says nothing: exp() of it is 0, and 0 times it is 0


class Texts(NamedTuple):
    """states: (tokens, hidden) of each text; wanted: the full model's embeddings, (n, d), of unit length."""

    states: Sequence[Array]
    wanted: Array


class Distilled(NamedTuple):
    """The best head, its loss on the held-back texts, and that of the head that training started from."""

    parameters: Parameters
    loss: float
    loss_before: float


def distill(head: Head, fitted: Texts, judging: Texts, advance: Advance, *, seed: int = 0) -> Distilled:
    """Train `head` on the texts `fitted`; the same seed gives the same head. advance: called after each of STEPS."""
    current = parameters(head)
    adam = _Adam(current)
    best = {name: values.copy() for name, values in current.items()}
    lowest = before = judged(current, head.residual, judging)
    order: list[int] = []
    draws = np.random.default_rng(seed)
    for step in range(STEPS):
        if len(order) < min(BATCH, len(fitted.states)):
            order = draws.permutation(len(fitted.states)).tolist()
        chosen, order = order[:BATCH], order[BATCH:]
        ran = Pass(current, head.residual, [fitted.states[text] for text in chosen])
        _, gradient = loss(ran.embeddings, fitted.wanted[chosen])
        adam.step(current, ran.gradients(gradient), _rate(step))
        if (step + 1) % STEPS_BETWEEN == 0 and (found := judged(current, head.residual, judging)) < lowest:
            lowest, best = found, {name: values.copy() for name, values in current.items()}
        advance(1)
    return Distilled(best, lowest, before)


def judged(given: Mapping[str, Floats], residual: Array, texts: Texts) -> float:
    """The loss over `texts`, as one batch."""
    return loss(_in_batches(given, residual, texts.states), texts.wanted)[0]


def loss(embeddings: Floats, wanted: Floats) -> tuple[float, Floats]:
    """The loss of a batch's embeddings (n, d), not normalized, and its gradient in them; wanted: of unit length."""
    n = len(embeddings)
    size = np.linalg.norm(embeddings, axis=1, keepdims=True)
    ours = embeddings / size
    found = float(np.mean(1 - np.sum(ours * wanted, axis=1)))
    gradient = -wanted / n
    if n > 2:  # with one other text there is nothing to choose from
        log_p, log_q = _log_shares(wanted), _log_shares(ours)
        p, q = np.exp(log_p), np.exp(log_q)
        found += KL_SHARE * float(np.sum(p * (log_p - log_q))) / n
        similarities = (q - p) * (KL_SHARE / (n * TEMPERATURE))
        gradient = gradient + (similarities + similarities.T) @ ours
    along = np.sum(gradient * ours, axis=1, keepdims=True)
    return found, (gradient - ours * along) / size


def embeddings(head: Head, states: Sequence[Array]) -> Array:
    """The unit vectors (n, d) that a head gives texts of these states."""
    return normalize(_in_batches(parameters(head), head.residual, states))


def _in_batches(given: Mapping[str, Floats], residual: Array, states: Sequence[Array]) -> Floats:
    starts = range(0, len(states), BATCH)
    return np.concatenate([Pass(given, residual, states[start : start + BATCH]).embeddings for start in starts])


def _log_shares(vectors: Floats) -> Floats:
    """(n, n): the logarithm of each text's share among the others that resemble the text of its row."""
    scores = vectors @ vectors.T / TEMPERATURE
    np.fill_diagonal(scores, NEVER)
    scores -= scores.max(axis=1, keepdims=True)
    found: Floats = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return found


def _rate(step: int) -> float:
    """Linear warm-up, then half a cosine down to 0."""
    if step < WARM_UP:
        return RATE * (step + 1) / WARM_UP
    return RATE * (1 + math.cos(math.pi * (step - WARM_UP) / (STEPS - WARM_UP))) / 2


class _Adam:
    """Adam, without weight decay: over so few steps it would change nothing."""

    def __init__(self, given: Parameters) -> None:
        self._steps = 0
        self._mean, self._square = ({name: np.zeros_like(values) for name, values in given.items()} for _ in range(2))

    def step(self, given: Parameters, gradients: Parameters, rate: float) -> None:
        """Move the parameters in place."""
        self._steps += 1
        first, second = (1 - beta**self._steps for beta in BETAS)
        for name, values in given.items():
            mean, square, gradient = self._mean[name], self._square[name], gradients[name]
            mean += (1 - BETAS[0]) * (gradient - mean)
            square += (1 - BETAS[1]) * (np.square(gradient) - square)
            values -= rate * (mean / first) / (np.sqrt(square / second) + EPS)
