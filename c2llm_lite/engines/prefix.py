"""The leading tokens that texts share, which an engine's cache keeps between batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..pma import Array, PooledSum


@dataclass(frozen=True)
class Prefix:
    """What a cache holds: the tokens' ids, and the sum of their states for these queries (heads, hidden)."""

    ids: tuple[int, ...]
    queries: Array
    total: PooledSum

    @classmethod
    def of(cls, ids: tuple[int, ...], queries: Array, parts: Iterable[tuple[int, Array]]) -> Prefix:
        """parts: the tokens' states as an engine's pass gives them, each (tokens, hidden) with its text's index, 0."""
        total = PooledSum(queries)
        for _, states in parts:
            total.add(states)
        return cls(ids, queries, total)

    def serves(self, ids: tuple[int, ...], queries: Array) -> bool:
        """Whether this fits texts that start with `ids`."""
        return self.ids == ids and self.queries is queries
