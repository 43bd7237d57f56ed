"""How texts lie in passes, which may cut them, and in the blocks of the cache of keys and values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Part:
    """What one pass takes of a text: `tokens` of them, after `past` that went before."""

    text: int
    past: int
    tokens: int


def passes(lengths: Sequence[int], tokens: int, before: int) -> Iterator[list[Part]]:
    """The texts in order, cut into passes of `tokens` tokens; a text may end in a later pass than it began.

    before: how many tokens go before each text's first.
    """
    parts: list[Part] = []
    room = tokens
    for text, length in enumerate(lengths):
        done = 0
        while done < length:
            taken = min(room, length - done)
            parts.append(Part(text, before + done, taken))
            done += taken
            room -= taken
            if room == 0:
                yield parts
                parts, room = [], tokens
    if parts:
        yield parts


def blocks_of(lengths: Sequence[int], shared: int, block: int) -> list[list[int]]:
    """Each text's blocks of the cache: the full ones of what all share, then its own.

    The first blocks hold the shared tokens, the last of them part full: a text's own begin after that one.
    """
    full, next_block = shared // block, -(-shared // block)
    blocks = []
    for length in lengths:
        own = -(-(shared + length) // block) - full
        blocks.append([*range(full), *range(next_block, next_block + own)])
        next_block += own
    return blocks


def ends(counts: Iterable[int]) -> NDArray[np.int32]:
    """0 and the running sum of `counts`: where each part of a flat array begins and ends."""
    return np.cumsum([0, *counts], dtype=np.int32)
