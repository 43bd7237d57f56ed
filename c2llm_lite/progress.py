"""Shows progress on standard error: a bar in a terminal, otherwise a line every 30 seconds or every few units."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Advance = Callable[[int], None]

SPEED_PERIOD = 600.0  # seconds of work from which a bar estimates the time left
LINE_SECONDS = 30.0  # between two lines outside a terminal


@contextlib.contextmanager
def bar(title: str, total: int | None, unit: str, *, show: bool = True, every: int | None = None) -> Iterator[Advance]:
    """Yields a function to call with the number of units done since the last call; silent unless `show`.

    A unit of "bytes" is shown as kB, MB and so on. total: None if it is not known; no time left is shown then.
    every: outside a terminal, a line after each so many units, whatever time they took.
    """
    if not show:
        yield lambda done: None
    elif sys.stderr.isatty():
        with _bar(title, total, unit) as advance:
            yield advance
    else:
        yield _Lines(title, total, unit, every).advance


def reported(progress: bool | Callable[[float], None], total: int) -> contextlib.AbstractContextManager[Advance]:
    """Reports embedding `total` tokens: on standard error if `progress` is True, or to the function that it is."""
    if not callable(progress):
        return bar("embedding", total, "tokens", show=progress)
    done = 0

    def advance(tokens: int) -> None:
        nonlocal done
        done += tokens
        progress(done / total)

    return contextlib.nullcontext(advance)


@contextlib.contextmanager
def _bar(title: str, total: int | None, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if unit == "bytes" else MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    # By default rich ignores steps older than 30 s; a step here may take longer, and no time left would be shown.
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, speed_estimate_period=SPEED_PERIOD) as progress:
        task = progress.add_task(title, total=total, rate="")

        def advance(done: int) -> None:
            progress.advance(task, done)
            elapsed, completed = progress.tasks[0].elapsed, progress.tasks[0].completed
            if elapsed:
                progress.update(task, rate=_rate(completed / elapsed, unit))

        yield advance


class _Lines:
    """Prints "embedding: 24% of 5,000 texts, 41.3 texts/s, 1:32 left" when LINE_SECONDS have passed, or `every`."""

    def __init__(self, title: str, total: int | None, unit: str, every: int | None) -> None:
        self._title, self._total, self._unit, self._every = title, total, unit, every
        self._done = 0
        self._begun = self._printed = time.monotonic()

    def advance(self, done: int) -> None:
        self._done += done
        now = time.monotonic()
        if self._done % self._every if self._every else now - self._printed < LINE_SECONDS:
            return
        self._printed = now
        rate = self._done / max(now - self._begun, 1e-9)
        parts = [_amount(self._done, self._unit), _rate(rate, self._unit)]
        if self._total is not None:
            parts[0] = f"{self._done / max(1, self._total):.0%} of {_amount(self._total, self._unit)}"
            if rate:
                minutes, seconds = divmod(round((self._total - self._done) / rate), 60)
                parts.append(f"{minutes}:{seconds:02d} left")
        print(f"{self._title}: {', '.join(parts)}", file=sys.stderr, flush=True)


def _amount(count: float, unit: str) -> str:
    return _bytes(count) if unit == "bytes" else f"{count:,.0f} {unit}"


def _rate(rate: float, unit: str) -> str:
    if unit == "bytes":
        return f"{_bytes(rate)}/s"
    return f"{rate:,.1f} {unit}/s" if rate >= 0.1 else f"{60 * rate:,.1f} {unit}/min"


def _bytes(count: float) -> str:
    for name in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:,.0f} {name}" if name == "bytes" else f"{count:,.1f} {name}"
        count /= 1000
    return f"{count:,.1f} GB"
