"""Trains low-rank updates of the stand-in's backbone together with its head, by in-batch contrastive loss.

A batch is much larger than what fits into a core's cache, so its texts run in small batches of near lengths, in one
thread a core. The loss is taken over all vectors at once; its gradients at the states then go back through each small
batch (GradCache, arXiv 2101.06983, but what a small batch computed is kept: memory for it is there).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from c2llm_lite.durable import durable
from c2llm_lite.pma import Array

from .adapters import AdaptedBackbone
from .head_training import WARM_UP, TrainableHead, drawn_noise
from .states import Half

UPDATES_RATE, HEAD_RATE = 5e-4, 3e-4
TEMPERATURE = 0.05  # where it starts: it is learned
TOKEN_DROPOUT = 0.1
BATCH_TOKENS = 1536  # of a small batch, padding included
SAVED_EVERY = 120.0  # seconds of CPU time

Ids = Sequence[int]


@dataclass
class Model:
    """The backbone with its updates, the head over its states, and the threads that run them."""

    backbone: AdaptedBackbone
    head: TrainableHead

    def __post_init__(self) -> None:
        torch.set_num_threads(1)
        self.threads = ThreadPoolExecutor(os.cpu_count(), initializer=torch.set_num_threads, initargs=(1,))

    @torch.no_grad()
    def vectors(self, texts: Sequence[Ids]) -> Array:
        """Normalized embeddings (texts, width)."""
        self.head.eval()
        out = np.zeros((len(texts), self.head.seed.numel()), np.float32)

        def run(batch: list[int]) -> None:
            with torch.no_grad():  # of this thread
                ids, inside = padded([texts[i] for i in batch])
                out[batch] = self.head(self.backbone.states(ids).float(), inside).numpy()

        list(self.threads.map(run, small_batches(texts)))
        self.head.train()
        return out

    def tensors(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """The updates by the names of updates.py, and the head by those of pma.TENSORS."""
        updates: dict[str, Array] = {}
        for name, update in self.backbone.updates.items():
            updates |= {f"{name}.a": update.a.detach().numpy(), f"{name}.b": update.b.detach().numpy()}
        return updates, {name: tensor.detach().numpy() for name, tensor in self.head.tensors().items()}


def padded(texts: Sequence[Ids]) -> tuple[torch.Tensor, torch.Tensor]:
    """ids (n, longest) and which of them are texts' (n, longest)."""
    longest = max(map(len, texts))
    ids = torch.tensor([[*text, *([0] * (longest - len(text)))] for text in texts])
    return ids, torch.arange(longest) < torch.tensor([len(text) for text in texts])[:, None]


def small_batches(texts: Sequence[Ids]) -> list[list[int]]:
    """Texts' indices in batches of near lengths, longest first, and about BATCH_TOKENS tokens."""
    batches: list[list[int]] = []
    for i in sorted(range(len(texts)), key=lambda i: -len(texts[i])):
        if not batches or (len(batches[-1]) + 1) * len(texts[batches[-1][0]]) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(i)
    return batches


class Training:
    """Steps, and the file that a run which was stopped continues from."""

    def __init__(self, model: Model, noise: Half, steps: int, kept: Path) -> None:
        """noise: (rows, hidden), what rounding the backbone's weights does to states of some texts."""
        self.model, self._noise, self._steps, self._kept = model, noise, steps, kept
        self._log_scale = torch.nn.Parameter(torch.tensor(-math.log(TEMPERATURE)))
        self._optimizer = torch.optim.AdamW(
            [
                {"params": list(model.backbone.parameters()), "lr": UPDATES_RATE},
                {"params": [*model.head.parameters(), self._log_scale], "lr": HEAD_RATE},
            ],
            weight_decay=0.0,
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, self._rate)
        self.step, self.cpu_seconds = 0, 0.0
        if kept.exists():
            state = torch.load(kept, weights_only=True)
            self.step, self.cpu_seconds = state["step"], state["cpu_seconds"]
            model.head.mean, model.head.whitening = state["whitening"]
            with torch.no_grad():
                for parameter, value in zip(self._parameters(), state["parameters"], strict=True):
                    parameter.copy_(value)
            self._optimizer.load_state_dict(state["optimizer"])
            self._schedule.load_state_dict(state["schedule"])
            model.backbone.merge()

    def run(self, batch: Callable[[int], tuple[list[Ids], list[Ids]]], after: Callable[[int, float], None]) -> None:
        """batch: a step's queries and codes. after: called with (steps done, loss)."""
        saved = self.cpu_seconds
        while self.step < self._steps:
            started = time.process_time()
            loss = self._one_step(*batch(self.step))
            self.step += 1
            self.cpu_seconds += time.process_time() - started
            if self.cpu_seconds - saved > SAVED_EVERY or self.step == self._steps:
                self._save()
                saved = self.cpu_seconds
            after(self.step, loss)

    def _one_step(self, queries: list[Ids], codes: list[Ids]) -> float:
        torch.manual_seed(self.step)
        draw = np.random.default_rng(self.step)
        texts = [*queries, *codes]
        batches = small_batches(texts)

        def forward(batch: list[int]) -> torch.Tensor:
            return self.model.backbone.states(padded([texts[i] for i in batch])[0])

        states = list(self.model.threads.map(forward, batches))
        leaves = [found.detach().float().requires_grad_() for found in states]
        rows = {i: leaf[row] for batch, leaf in zip(batches, leaves, strict=True) for row, i in enumerate(batch)}
        vectors = []
        for side in (range(len(queries)), range(len(queries), len(texts))):
            _, inside = padded([texts[i] for i in side])
            longest = inside.shape[1]
            x = torch.stack([F.pad(rows[i][:longest], (0, 0, 0, max(0, longest - len(rows[i])))) for i in side])
            x = x + drawn_noise(self._noise, x.shape, draw)
            kept = inside & (torch.rand(inside.shape) >= TOKEN_DROPOUT)
            kept[:, 0] = True  # a text keeps a token
            vectors.append(self.model.head(x, kept))
        logits = vectors[0] @ vectors[1].T * self._log_scale.exp()
        right = torch.arange(len(logits))
        loss = (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's

        def backward(place: int) -> None:
            found, gradient = states[place], leaves[place].grad
            states[place] = leaves[place] = None  # type: ignore[call-overload]  # their memory is large
            found.backward(gradient.bfloat16())  # type: ignore[no-untyped-call,union-attr]  # torch's

        list(self.model.threads.map(backward, range(len(batches))))
        torch.nn.utils.clip_grad_norm_(self._parameters(), 1.0)
        self._optimizer.step()
        self._schedule.step()
        self.model.backbone.merge()
        return float(loss.detach())

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [*self.model.backbone.parameters(), *self.model.head.parameters(), self._log_scale]

    def _rate(self, step: int) -> float:
        """Linear warm-up, then a cosine down to 0: what the learning rates are multiplied by."""
        warm = WARM_UP * self._steps
        if step < warm:
            return (step + 1) / (warm + 1)
        return (1 + math.cos(math.pi * (step - warm) / (self._steps - warm))) / 2

    def _save(self) -> None:
        state = {
            "step": self.step,
            "cpu_seconds": self.cpu_seconds,
            "whitening": [self.model.head.mean, self.model.head.whitening],
            "parameters": [parameter.detach() for parameter in self._parameters()],
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
        }
        with durable(self._kept) as file:
            torch.save(state, file)
