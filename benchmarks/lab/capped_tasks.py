"""Copies tasks in BEIR's format, with fewer queries and documents, so that all targets are scored in reasonable time.

    python -m c2llm_lite.benchmarks.lab.capped_tasks ../shared/data build/tasks

SOURCE: a folder with tasks at any depth. CosQA keeps all queries that have an answer; the others MOST_QUERIES. Every
answer stays, and OTHERS documents that answer none of the queries. What is kept is drawn, always the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import typer

from c2llm_lite.errors import ArgumentError

from ..bench import beir
from .package_task import write

MOST_QUERIES = {"CosQA": 500}
QUERIES = 150
OTHERS = 1000


def main(source: Path, folder: Path) -> None:
    """Write FOLDER/NAME for each task below SOURCE; those that are there stay."""
    found = sorted(path.parent for path in source.rglob(beir.CORPUS))
    if not found:
        raise ArgumentError(f"{source} contains no task: no {beir.CORPUS} is below it")
    for task in found:
        if not (folder / task.name).exists():
            _copy(task, folder / task.name)


def _copy(task: Path, folder: Path) -> None:
    queries, documents, relevant = beir.read(task)
    kept = drawn(queries, MOST_QUERIES.get(task.name, QUERIES))
    grades = {query: relevant[query] for query in kept}
    answers = {document for found in grades.values() for document in found}
    others = set(drawn((key for key in documents if key not in answers), OTHERS))
    write(
        {key: queries[key] for key in kept},
        {key: text for key, text in documents.items() if key in answers or key in others},
        folder,
        grades,
    )


def drawn(names: Iterable[str], count: int) -> list[str]:
    """At most so many of them, in an arbitrary order that is always the same."""
    listed = sorted(names)
    return random.Random(0).sample(listed, min(count, len(listed)))


if __name__ == "__main__":
    typer.run(main)
