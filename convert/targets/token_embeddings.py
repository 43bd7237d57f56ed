"""The token embeddings as a .npy of the checkpoint's own values, exact, copied in slices through a memory map."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from c2llm_lite.bundle import EMBED_TOKENS

from ..checkpoint import Weights

SLICE_ROWS = 4096


def write_token_embeddings(checkpoint: Weights, path: Path) -> dict[str, str]:
    """Write (vocab, hidden) to `path`, by the dtype rule of bundle.py; returns the tensor's type by its name.

    Raises OSError if the disk is full: written through a map, it would end the process instead.
    """
    stored, dtype = checkpoint.stored(EMBED_TOKENS)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(stored))
        for start in range(0, len(stored), SLICE_ROWS):
            file.write(np.ascontiguousarray(stored[start : start + SLICE_ROWS]).data)
    return {EMBED_TOKENS: dtype.lower()}
