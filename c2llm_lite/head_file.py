"""Reads the pooling head from a bundle."""

from __future__ import annotations

from . import pma
from .bundle import HEAD, HEAD_TENSORS, MAP_BIAS, MAP_MATRIX, Bundle
from .errors import ArgumentError, BundleError
from .float32_tensors import read_float32
from .pma import Array


def read_head(bundle: Bundle) -> pma.Head:
    """The head of the manifest's shape and variant. Raises BundleError."""
    path = bundle.path(HEAD)
    tensors = read_float32(path, HEAD_TENSORS)
    try:
        head = pma.Head(tensors, bundle.manifest.head, states_map(tensors))
    except ValueError as error:
        raise BundleError(
            f"{path} does not contain the head: {error}; copy the bundle again, or convert again"
        ) from error
    if (head.hidden, head.width) != (bundle.manifest.backbone.hidden, bundle.manifest.width):
        raise BundleError(
            f"{path}: the head is {head.hidden} by {head.width}, which is not what the manifest says; convert again"
        )
    return head


def states_map(tensors: dict[str, Array]) -> pma.AffineMap | None:
    """The recovery of quantized states, if the converter fitted one. Raises ValueError if its shapes do not fit."""
    if MAP_MATRIX not in tensors:
        return None
    matrix, bias = tensors[MAP_MATRIX], tensors.get(MAP_BIAS)
    hidden = tensors["mab.fc_k.weight"].shape[-1:]
    if bias is None or matrix.shape != hidden * 2 or bias.shape != hidden:
        raise ArgumentError(f"{MAP_MATRIX} and {MAP_BIAS} are not a map of the backbone's states")
    return pma.AffineMap(matrix, bias)
