"""Writes an installed package's documented functions as a task in BEIR's format, for `bench --data`.

    python -m c2llm_lite.benchmarks.lab.package_task sympy build/sympy --pairs 300

A package whose kind of code no calibration saw (SCORED_ON's: sympy, scipy) tells recovery from mere fitting; a user's
own package tells what a bundle costs there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from c2llm_lite.convert.calibrate.documented_code import Pair, unique
from c2llm_lite.errors import OutputError

from ..bench.beir import CORPUS, QRELS, QUERIES, SPLIT
from ..bench.pairs import package_pairs

PAIRS = 300


def main(
    package: str,
    folder: Path,
    pairs: Annotated[int, typer.Option(help="At most, in an arbitrary order that is always the same.")] = PAIRS,
) -> None:
    """Write FOLDER from the installed PACKAGE."""
    write(chosen(package, pairs), folder)


def chosen(package: str, count: int) -> list[Pair]:
    """Raises MissingDependencyError if the package is not installed."""
    kept = unique(package_pairs(package, "bench", f"a task of {package}'s functions"), set(), set())
    named = {(pair.module, pair.name): pair for pair in kept}  # a property's setter has the getter's name
    return sorted(named.values(), key=lambda pair: pair.sha256)[:count]


def write(pairs: list[Pair], folder: Path) -> None:
    """Each pair's query and document under one id. Raises OutputError if `folder` exists."""
    if folder.exists():
        raise OutputError(f"{folder} exists: name another folder")
    (folder / QRELS).mkdir(parents=True)
    names = [f"{pair.module}.{pair.name}" for pair in pairs]
    for file, texts in ((CORPUS, [pair.code for pair in pairs]), (QUERIES, [pair.query for pair in pairs])):
        rows = (json.dumps({"_id": name, "text": text}) + "\n" for name, text in zip(names, texts, strict=True))
        (folder / file).write_text("".join(rows), encoding="utf-8")
    grades = "".join(f"{name}\t{name}\t1\n" for name in names)
    (folder / QRELS / f"{SPLIT}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{grades}", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
