"""A trained head to train further: over whitened states, where one learning rate fits every direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from c2llm_lite.pma import Array

from .adapters import AdaptedBackbone
from .head_training import NOISE_SHRINKAGE, TrainableHead
from .states import Half, is_matrix, rounded_weight
from .update_training import padded

AT_ONCE = 16  # texts
LEAST_VARIANCE = 1e-7  # of the largest: few states leave directions without any


@torch.no_grad()
def states_and_noise(
    backbone: AdaptedBackbone, weights: Mapping[str, Array], texts: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, Half]:
    """The texts' states (tokens, hidden) float32, and what rounding the weights to 4 bits does to them."""
    moved = {name: rounded_weight(torch.from_numpy(w)).numpy() if is_matrix(name) else w for name, w in weights.items()}
    other = AdaptedBackbone(moved, backbone.config)
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    for start in range(0, len(texts), AT_ONCE):
        ids, inside = padded(texts[start : start + AT_ONCE])
        found.append((backbone.states(ids)[inside].float(), other.states(ids)[inside].float()))
    states, others = (torch.cat(side) for side in zip(*found, strict=True))
    return states, (others - states).half().numpy()


def whitened(states: torch.Tensor, noise: Half, tensors: Mapping[str, Array]) -> TrainableHead:
    """The head of `tensors` (by the names of pma.TENSORS), with the whitening of these states taken out of it."""
    mean = states.mean(dim=0)
    errors = torch.from_numpy(noise).float()
    values, vectors = torch.linalg.eigh((states - mean).T.cov() + NOISE_SHRINKAGE * (errors.T @ errors) / len(errors))
    values = values.clamp_min(values.max() * LEAST_VARIANCE)
    inverse = vectors @ torch.diag(values.sqrt()) @ vectors.T
    head = TrainableHead(mean, vectors @ torch.diag(values.rsqrt()) @ vectors.T)
    given = {name: torch.from_numpy(array) for name, array in tensors.items()}
    value = given["mab.fc_v.weight"]
    given |= {
        "seed": given["S"],
        "mab.fc_k.weight": given["mab.fc_k.weight"] @ inverse,
        "mab.fc_v.weight": value @ inverse,
        "mab.fc_v.bias": given["mab.fc_v.bias"] + value @ mean,
    }
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            parameter.copy_(given[name].view_as(parameter))
    return head
