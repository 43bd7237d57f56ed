"""Which texts share a forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def packs(lengths: Sequence[int], *, tokens: int, texts: int) -> Iterator[list[int]]:
    """Indices of texts, pack by pack, each of at most `tokens` tokens and `texts` texts; a longer text goes alone.

    Texts go longest first, so that those of a pack are near in length (a padded engine wastes little) and the progress
    shown errs on the safe side.
    """
    pack: list[int] = []
    held = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if pack and (held + lengths[index] > tokens or len(pack) == texts):
            yield pack
            pack, held = [], 0
        pack.append(index)
        held += lengths[index]
    if pack:
        yield pack


def room(tokens: int, shared: int) -> int:
    """How many tokens beside the `shared` leading ones a pack of `tokens` takes.

    The shared tokens stand in every pack's attention, but a long prompt must not leave packs of a text each.
    """
    return max(tokens - shared, tokens // 2)
