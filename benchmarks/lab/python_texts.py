"""Writes calibration texts of Python alone, to compare with the default ones in 13 languages.

    python -m c2llm_lite.benchmarks.lab.python_texts FILE.jsonl [PAIRS]

Documented functions of installed packages, each with its docstring's first paragraph as the query: what
`--calibrate default` took before it had texts of its own. Other packages give other texts.
"""

from __future__ import annotations

import json
import sysconfig
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from c2llm_lite.durable import durable

from ..bench.pairs import training_pairs

A_PACKAGE = 40  # so that no package's style dominates


def main(file: Path, pairs: Annotated[int, typer.Argument(min=1)] = 250) -> None:
    """Write FILE with so many functions."""
    folders = sorted({Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")})
    taken: Counter[str] = Counter()
    lines: list[str] = []
    for pair in sorted(training_pairs(folders), key=lambda pair: pair.sha256):
        package = pair.module.partition(".")[0]
        if taken[package] < A_PACKAGE and len(lines) < pairs:
            taken[package] += 1
            lines.append(json.dumps({"text": pair.code, "query": pair.query}))
    with durable(file) as written:
        written.write("".join(f"{line}\n" for line in lines).encode())


if __name__ == "__main__":
    typer.run(main)
