"""Times several variants in rotation so that background load affects them equally, and tells the spread of a figure."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence


def seconds_in_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Each way's seconds in each round, one way after another; a round before them warms up."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for repeat in range(rounds + 1):
        for way, run in ways.items():
            started = time.perf_counter()
            run()
            if repeat:
                seconds[way].append(time.perf_counter() - started)
    return seconds


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median, the lowest and the highest, to two decimals."""
    return {
        "median": round(statistics.median(values), 2),
        "lowest": round(min(values), 2),
        "highest": round(max(values), 2),
    }
