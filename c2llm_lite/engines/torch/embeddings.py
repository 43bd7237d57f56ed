"""Where token embeddings are looked up: on a GPU that has room for the table, else on the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ...token_embeddings import TokenEmbeddings
from .texts import put

Lookup = Callable[[Sequence[int]], torch.Tensor]  # ids -> (tokens, hidden) on the device, in the states' type

# Of the card's free memory, once the backbone is there: the table takes no more, so that passes keep the rest.
SHARE = 0.25
CHUNK = 8192  # rows copied at once
STORED = {np.dtype("<f4"): torch.float32, np.dtype("<f2"): torch.float16, np.dtype("<u2"): torch.bfloat16}


def lookup(table: TokenEmbeddings, device: torch.device, states: torch.dtype) -> Lookup:
    """How an engine on `device` turns ids into rows. Ids outside the vocabulary raise BundleError.

    Looked up on a card, a pass sends 8 bytes a token there in place of a row.
    """
    if device.type == "cuda" and table.stored.nbytes <= SHARE * free_memory(device):
        return _on_device(table, device, states)
    return lambda ids: put(table.rows(ids), device).to(states)


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a CUDA device."""
    free: int = torch.cuda.mem_get_info(device)[0]
    return free


def _on_device(table: TokenEmbeddings, device: torch.device, states: torch.dtype) -> Lookup:
    stored = table.stored
    there = torch.empty(stored.shape, dtype=STORED[stored.dtype], device=device)
    for start in range(0, len(stored), CHUNK):
        rows = torch.from_numpy(np.array(stored[start : start + CHUNK]))  # copied: the file is mapped read-only
        there[start : start + CHUNK] = rows.view(there.dtype)
    return lambda ids: there[put(table.index(ids), device)].to(states)
