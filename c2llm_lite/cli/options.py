"""Arguments and options that several commands share, and output for people and for machines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Paths and messages are printed verbatim: no markup is interpreted and no line is wrapped at the terminal's width.
out = Console(markup=False, highlight=False, soft_wrap=True)
err = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)


@dataclass
class Settings:
    """Output settings of the running command."""

    quiet: bool = False

    @property
    def progress(self) -> bool:
        """Whether to show the progress of long work."""
        return not self.quiet


settings = Settings()

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder that `c2llm-lite convert` wrote.")]
Device = Annotated[
    str, typer.Option(help="Where to run: auto, cpu, or a device of the bundle's engine (cuda, mps, GPU).")
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="CPU threads. [dim]\\[default: the physical cores available to the process][/]"),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(min=1, help="Truncate texts to this many tokens, prompt included. [dim]\\[default: the bundle's][/]"),
]
PromptName = Annotated[str | None, typer.Option(help="query, document, or a task's prompt, such as CosQA-query.")]
Prompt = Annotated[str | None, typer.Option(help="A literal prefix, instead of --prompt-name.")]
Dim = Annotated[
    int | None, typer.Option(min=1, help="Keep only the first components. [dim]\\[default: all of them][/]")
]
Force = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CALIBRATE = "default|FILE|FOLDER"  # what calibration texts are asked for by


def fail(reason: str) -> None:
    """Print on standard error why something failed."""
    err.print(Text.assemble(("failed: ", "red"), reason))


def print_table(table: Table) -> None:
    """Print `table` on standard output, at most as wide as the terminal."""
    out.print(table, soft_wrap=False)


def print_json(data: Any) -> None:
    """Print `data` as JSON on standard output."""
    print(json.dumps(data, indent=1, ensure_ascii=False))
