"""Compares the structure of a bundle's graph file with the manifest before OpenVINO reads it.

OpenVINO crashes while it reads or transforms some graphs whose operations for attention and its cache were swapped.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from ...bundle import Backbone
from ...errors import BundleError

_LAYER = re.compile(rb'<layer [^<>]*?\btype="(\w+)"')


def check_graph(path: Path, backbone: Backbone) -> None:
    """Raises BundleError unless the graph has the inputs, outputs, attention and cache of the manifest's backbone."""
    layers = backbone.layers
    wanted = {
        b"Parameter": 4,  # rows, mask, positions, and which texts of a batch continue
        b"Result": 1,
        b"ScaledDotProductAttention": layers,
        b"ReadValue": 2 * layers,  # keys and values
        b"Assign": 2 * layers,
    }
    try:
        found = Counter(_LAYER.findall(path.read_bytes()))
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read: {error.strerror}; copy the bundle again, or convert again"
        ) from error
    for kind, count in wanted.items():
        if found[kind] != count:
            raise BundleError(
                f"{path} is not the manifest's backbone: it has {found[kind]} {kind.decode()}, not {count}; "
                "convert or copy the bundle again"
            )
