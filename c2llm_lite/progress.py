"""Progress of long work on the terminal: a bar with count, rate and time left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Advance = Callable[[int], None]


@contextlib.contextmanager
def bar(title: str, total: int | None, unit: str, *, show: bool = True) -> Iterator[Advance]:
    """Yields what is called with the number of units done; silent unless `show`. Shown on standard error."""
    if not show:
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total, rate="")

        def advance(done: int) -> None:
            progress.advance(task, done)
            elapsed, completed = progress.tasks[0].elapsed, progress.tasks[0].completed
            if elapsed:
                progress.update(task, rate=f"{completed / elapsed:,.1f} {unit}/s")

        yield advance
