"""Progress of long work on the terminal: a bar with count, rate and time left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Advance = Callable[[int], None]

SPEED_PERIOD = 600.0  # seconds of work that the time left is reckoned from


@contextlib.contextmanager
def bar(title: str, total: int | None, unit: str, *, show: bool = True) -> Iterator[Advance]:
    """Yields what is called with the number of units done; silent unless `show`. Shown on standard error.

    A unit of "bytes" is shown as kB, MB and so on. total: None where it is not known; no time left is shown then.
    """
    if not show:
        yield lambda done: None
        return
    from rich.console import Console
    from rich.filesize import decimal
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
    # By default rich forgets what is older than 30 s; a step here may take longer, and no time left would show.
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, speed_estimate_period=SPEED_PERIOD) as progress:
        task = progress.add_task(title, total=total, rate="")

        def advance(done: int) -> None:
            progress.advance(task, done)
            elapsed, completed = progress.tasks[0].elapsed, progress.tasks[0].completed
            if elapsed:
                rate = completed / elapsed
                shown = decimal(int(rate)) if unit == "bytes" else f"{rate:,.1f} {unit}"
                progress.update(task, rate=f"{shown}/s")

        yield advance
