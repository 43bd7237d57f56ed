"""Trains a pooling head on frozen states: in-batch contrastive loss (InfoNCE, arXiv 1807.03748) over (query, code).

The head is trained in the absorbed form of pma.py. States get no gradient, so a token costs 2·heads·hidden
multiply-adds and a batch of hundreds of pairs takes a fraction of a second. Parameters live in the space of whitened
states, where one learning rate fits every direction (a language model's raw states are dominated by a few outlier
dimensions: their plain mean retrieves next to nothing); whitening is linear, so `tensors` folds it into the key and
value weights. Settings were chosen on the development pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from c2llm_lite.pma import LAYER_NORM_EPS, Array

from .states import Half

HEADS = 16
STEPS = 500
BATCH = 384
LEARNING_RATE = 1e-3
WARM_UP = 0.05  # of the steps; then a cosine down to 0
WEIGHT_DECAY = 0.05
TEMPERATURE = 0.05  # where it starts: it is learned
TOKEN_DROPOUT = 0.2
OUTPUT_DROPOUT = 0.2
# Of what rounding to 4 bits does to states, added in training, so that the head leans less on what it moves.
NOISE = 0.4
NOISE_SHRINKAGE = 0.15  # of the whitening, by the same noise
AVERAGING = 0.99  # exponential moving average of the weights, which is what is kept


@dataclass(frozen=True)
class Texts:
    """States of many texts, one after another, with where each begins and ends."""

    states: Half  # (tokens of all texts, hidden)
    starts: np.ndarray[tuple[int], np.dtype[np.int64]]  # (texts + 1,)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def padded(self, chosen: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the chosen texts: states (n, longest, hidden) float32 and which of them are texts' (n, longest)."""
        lengths = self.starts[chosen + 1] - self.starts[chosen]
        rows = self.starts[chosen][:, None] + np.arange(lengths.max())
        inside = np.arange(lengths.max()) < lengths[:, None]
        states = torch.from_numpy(self.states[np.where(inside, rows, 0)])
        return states.float(), torch.from_numpy(inside)


class TrainableHead(torch.nn.Module):
    """C2LLM's head (residual "query", scale "width") over whitened states; width equals the states'."""

    def __init__(self, mean: torch.Tensor, whitening: torch.Tensor) -> None:
        """mean (hidden,) and whitening (hidden, hidden) of the states: whitened = whitening @ (state - mean)."""
        super().__init__()
        width = len(mean)
        self.mean, self.whitening = mean, whitening
        self.seed = torch.nn.Parameter(torch.randn(width))
        linear = {name: torch.nn.Linear(width, width) for name in ("fc_q", "fc_k", "fc_v", "fc_o")}
        norms = {name: torch.nn.LayerNorm(width, LAYER_NORM_EPS) for name in ("ln0", "ln1")}
        self.mab = torch.nn.ModuleDict({**linear, **norms})
        torch.nn.init.orthogonal_(linear["fc_q"].weight)
        torch.nn.init.normal_(linear["fc_k"].weight, std=0.1 / math.sqrt(width))  # attention begins near uniform
        torch.nn.init.orthogonal_(linear["fc_v"].weight)
        torch.nn.init.normal_(linear["fc_o"].weight, std=0.1 / math.sqrt(width))
        with torch.no_grad():
            for layer in linear.values():
                layer.bias.zero_()
            linear["fc_v"].bias.copy_(
                -linear["fc_q"](self.seed)
            )  # the residual begins as no common part of all vectors

    def tensors(self) -> dict[str, torch.Tensor]:
        """The head over raw states, by the names of pma.TENSORS."""
        found = {f"mab.{name}": tensor for name, tensor in self.mab.named_parameters()}
        value = found["mab.fc_v.weight"] @ self.whitening
        return found | {
            "S": self.seed.reshape(1, 1, -1),
            "mab.fc_k.weight": found["mab.fc_k.weight"] @ self.whitening,
            "mab.fc_v.weight": value,
            "mab.fc_v.bias": found["mab.fc_v.bias"] - value @ self.mean,
        }

    def forward(self, states: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        """states (n, tokens, hidden), inside (n, tokens): which count -> normalized embeddings (n, width)."""
        t = self.tensors()
        width = states.shape[2]
        query = t["mab.fc_q.weight"] @ self.seed + t["mab.fc_q.bias"]
        key = t["mab.fc_k.weight"].view(HEADS, -1, width)
        absorbed = torch.einsum("ed,edh->eh", query.view(HEADS, -1), key) / math.sqrt(width)
        scores = (states @ absorbed.T).masked_fill(~inside[:, :, None], -torch.inf)  # (n, tokens, heads)
        if self.training:
            # Weights below e^-30 would be denormal numbers before long, on which a step takes many times as long.
            scores = scores - scores.amax(dim=1, keepdim=True).detach()
            scores = scores.clamp_min(-30.0).masked_fill(~inside[:, :, None], -torch.inf)
        pooled = scores.softmax(dim=1).transpose(1, 2) @ states  # (n, heads, hidden)
        attended = torch.einsum("neh,edh->ned", pooled, t["mab.fc_v.weight"].view(HEADS, -1, width))
        o = F.dropout(attended.flatten(1) + t["mab.fc_v.bias"] + query, OUTPUT_DROPOUT, self.training)
        x = self.mab["ln0"](o)
        return F.normalize(self.mab["ln1"](x + self.mab["fc_o"](x).relu()))


def train(queries: Texts, codes: Texts, noise: Half, progress: Callable[[int, float], None]) -> dict[str, Array]:
    """The trained head by the names of pma.TENSORS, float32.

    noise: (rows, hidden), what rounding the backbone's weights does to states of some texts. progress: called with
    (steps done, loss).
    """
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    head = TrainableHead(*_whitening(queries, codes, noise)).train()
    averaged = torch.optim.swa_utils.AveragedModel(
        head, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGING)
    )
    log_scale = torch.nn.Parameter(torch.tensor(-math.log(TEMPERATURE)))
    decayed = [p for p in head.parameters() if p.ndim == 2]
    others = [p for p in head.parameters() if p.ndim != 2]
    groups = [{"params": decayed}, {"params": [*others, log_scale], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _rate)
    order: list[int] = []
    for step in range(STEPS):
        if len(order) < BATCH:
            order += random.permutation(len(queries)).tolist()
        chosen, order = np.array(order[:BATCH]), order[BATCH:]
        found = []
        for texts in (queries, codes):
            states, inside = texts.padded(chosen)
            states += drawn_noise(noise, states.shape, random)
            kept = inside & (torch.rand(inside.shape) >= TOKEN_DROPOUT)
            kept[:, 0] = True  # a text keeps a token
            found.append(head(states, kept))
        logits = found[0] @ found[1].T * log_scale.exp()
        right = torch.arange(len(logits))
        loss = (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
        schedule.step()
        averaged.update_parameters(head)
        progress(step + 1, loss.item())
    with torch.no_grad():
        return {name: tensor.numpy().copy() for name, tensor in averaged.module.tensors().items()}


def drawn_noise(noise: Half, shape: torch.Size, random: np.random.Generator) -> torch.Tensor:
    """Noise for states of `shape` (texts, tokens, hidden): of each text, what that many tokens in a row once had."""
    texts, tokens, _ = shape
    rows = random.integers(0, len(noise) - tokens, (texts, 1)) + np.arange(tokens)
    return torch.from_numpy(noise[rows]).float().mul_(NOISE)


def _whitening(queries: Texts, codes: Texts, noise: Half) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean of a sample of the states, and the inverse square root of their covariance with the noise's on top.

    Directions in which rounding moves states as much as texts do are not blown up.
    """
    sample = np.concatenate([texts.states[:: max(1, len(texts.states) // 100_000)] for texts in (queries, codes)])
    states = torch.from_numpy(sample).float()
    mean = states.mean(dim=0)
    errors = torch.from_numpy(noise).float()
    values, vectors = torch.linalg.eigh((states - mean).T.cov() + NOISE_SHRINKAGE * (errors.T @ errors) / len(errors))
    return mean, vectors @ torch.diag(values.rsqrt()) @ vectors.T


def _rate(step: int) -> float:
    """Linear warm-up, then a cosine down to 0: what the learning rate is multiplied by."""
    warm = WARM_UP * STEPS
    return step / warm if step < warm else (1 + math.cos(math.pi * (step - warm) / (STEPS - warm))) / 2
