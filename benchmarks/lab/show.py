"""The end of `make demo`: questions in plain words, and the standard-library functions that a bundle finds."""

from __future__ import annotations

import time
from pathlib import Path

import typer
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

import c2llm_lite

from ..bench.pairs import stdlib_pairs

QUESTIONS = (
    "how many days does a month have in a given year",
    "does a file name match a shell pattern",
    "compare the files that two directories have in common",
    "take the smallest item off a priority queue and put in another",
    "read an e-mail message from an open file",
)
BEST = 3
FUNCTIONS = 200  # a minute's work on two cores
LONGEST = 250  # characters
SHOWN_LINES = 3


def main(bundle: str) -> None:
    """Embed the questions and the functions, and print the nearest of each."""
    console = Console()
    pairs = [pair for pair in stdlib_pairs() if len(pair.code) <= LONGEST][:FUNCTIONS]
    with c2llm_lite.load(bundle) as model:
        started = time.perf_counter()
        documents = model.embed([pair.code for pair in pairs], prompt_name="document", progress=True)
        seconds = time.perf_counter() - started
        queries = model.embed(QUESTIONS, prompt_name="query")
    table = Table("question", "score", show_lines=True)
    table.add_column("function", overflow="fold")
    table.add_column("its first lines")
    for question, scores in zip(QUESTIONS, queries @ documents.T, strict=True):
        for place, row in enumerate(scores.argsort()[::-1][:BEST]):
            pair = pairs[row]
            code = "\n".join(pair.code.splitlines()[:SHOWN_LINES])
            table.add_row(
                "" if place else f"[bold]{question}",
                f"{scores[row]:.3f}",
                f"{pair.module}.{pair.name}",
                Syntax(code, "python", background_color="default"),
            )
    console.print(table)
    console.print(
        f"{len(pairs):,} functions of the standard library embedded in {seconds:.0f} s by {Path(bundle).name}, "
        "from their source without documentation; the model had not seen them."
    )


if __name__ == "__main__":
    typer.run(main)
