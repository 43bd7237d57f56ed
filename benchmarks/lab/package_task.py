"""Writes an installed package's documented functions as a task in BEIR's format, for `bench --data`.

    python -m c2llm_lite.benchmarks.lab.package_task sympy build/sympy --pairs 300

A package whose kind of code no calibration saw (SCORED_ON's: sympy, scipy) separates recovery from mere fitting; a
user's own package shows what a bundle costs there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from c2llm_lite.convert.calibrate.documented_code import Pair, unique
from c2llm_lite.errors import OutputError

from ..bench.beir import CORPUS, QRELS, QUERIES, SPLIT
from ..bench.data import STDLIB, task
from ..bench.pairs import package_pairs

PAIRS = 300


def main(
    package: Annotated[str, typer.Argument(help="An installed one; or stdlib, for the pairs held out.")],
    folder: Path,
    pairs: Annotated[int, typer.Option(help="At most, in an arbitrary order that is always the same.")] = PAIRS,
) -> None:
    """Write FOLDER from PACKAGE."""
    if package == STDLIB:  # listed by hash: another Python's library has other texts
        held_out = task(STDLIB)
        write(held_out.queries, held_out.documents, folder)
        return
    named = {f"{pair.module}.{pair.name}": pair for pair in chosen(package, pairs)}
    write({n: pair.query for n, pair in named.items()}, {n: pair.code for n, pair in named.items()}, folder)


def chosen(package: str, count: int) -> list[Pair]:
    """Raises MissingDependencyError if the package is not installed."""
    kept = unique(package_pairs(package, "bench", f"a task of {package}'s functions"), set(), set())
    named = {(pair.module, pair.name): pair for pair in kept}  # a property's setter has the getter's name
    return sorted(named.values(), key=lambda pair: pair.sha256)[:count]


def write(
    queries: Mapping[str, str],
    documents: Mapping[str, str],
    folder: Path,
    relevant: Mapping[str, Mapping[str, int]] | None = None,
) -> None:
    """relevant: each query's grades by document; None where its document has its id.

    Raises OutputError where `folder` exists.
    """
    if folder.exists():
        raise OutputError(f"{folder} exists: name another folder")
    (folder / QRELS).mkdir(parents=True)
    for file, texts in ((CORPUS, documents), (QUERIES, queries)):
        rows = (json.dumps({"_id": name, "text": text}) + "\n" for name, text in texts.items())
        (folder / file).write_text("".join(rows), encoding="utf-8")
    found = {name: {name: 1} for name in queries} if relevant is None else relevant
    grades = "".join(f"{query}\t{key}\t{grade}\n" for query, of in found.items() for key, grade in of.items())
    (folder / QRELS / f"{SPLIT}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{grades}", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
