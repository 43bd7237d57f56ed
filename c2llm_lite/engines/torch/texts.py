"""How the texts of a pass lie in its one row of tokens, as attention and the head's reduction need it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

# Of the slots of a run, how many may be filled up. Texts of a pass come sorted, so that few are.
PADDING = 0.2


@dataclass(frozen=True)
class Run:
    """Neighboring texts that are computed as one block, each filled up to the longest.

    slots: (texts, longest), the row of each slot; a slot beyond a text's end names a row of the text, whose numbers are
    finite and never used. kept: the slots that are no padding, in the order of the rows, or None where none is padding.
    lengths: (texts, 1).
    """

    start: int
    end: int
    slots: torch.Tensor
    kept: torch.Tensor | None
    lengths: torch.Tensor

    def block(self, rows: torch.Tensor) -> torch.Tensor:
        """(tokens of the pass, ...) -> (texts, longest, ...)."""
        if self.kept is None:
            return rows[self.start : self.end].unflatten(0, tuple(self.slots.shape))
        return rows[self.slots]

    def rows(self, block: torch.Tensor) -> torch.Tensor:
        """(texts, longest, ...) -> (tokens of this run, ...)."""
        flat = block.flatten(0, 1)
        return flat if self.kept is None else flat[self.kept]


class Texts:
    """The layout of one pass on `device`, made once for all layers.

    positions: (tokens,), each token's place in its text. bounds: (texts + 1,) int32, where texts begin and end.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self.longest = max(lengths)
        bounds = np.cumsum([0, *lengths], dtype=np.int64)
        tokens = np.arange(bounds[-1])
        self.positions = put(tokens - np.repeat(bounds[:-1], lengths), device)
        self.bounds = put(bounds.astype(np.int32), device)
        self._lengths = lengths
        self._starts = bounds
        self._device = device
        self._runs: list[Run] | None = None

    @property
    def runs(self) -> list[Run]:
        """The texts in blocks of which at most the share PADDING is padding."""
        if self._runs is None:
            self._runs = [self._run(first, last) for first, last in _cut(self._lengths)]
        return self._runs

    def _run(self, first: int, last: int) -> Run:
        lengths = np.asarray(self._lengths[first:last])
        starts, slot = self._starts[first:last], np.arange(lengths.max())
        slots = starts[:, None] + np.minimum(slot, lengths[:, None] - 1)
        kept = None if lengths.min() == lengths.max() else np.flatnonzero(slot < lengths[:, None])
        return Run(
            int(starts[0]),
            int(self._starts[last]),
            put(slots, self._device),
            None if kept is None else put(kept, self._device),
            put(lengths[:, None], self._device),
        )


def _cut(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last-but-one text of each run."""
    first, tokens, longest = 0, 0, 0
    for text, length in enumerate(lengths):
        tokens, longest = tokens + length, max(longest, length)
        slots = (text + 1 - first) * longest
        if slots - tokens > PADDING * slots:
            yield first, text
            first, tokens, longest = text, length, length
    yield first, len(lengths)


def put(values: NDArray[Any], device: torch.device) -> torch.Tensor:
    """`values` on `device`; to a GPU through pinned memory, so that the copy waits for nothing."""
    found = torch.from_numpy(values)
    return found.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else found.to(device)
