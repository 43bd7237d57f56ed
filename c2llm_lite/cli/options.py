"""What several commands share: arguments and options, worded once, and printing for people and for a machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Paths and messages are printed as they are: nothing in them is markup, and no line is broken where a terminal ends.
out = Console(markup=False, highlight=False, soft_wrap=True)
err = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)


@dataclass
class Settings:
    """What a command was told about its own output."""

    quiet: bool = False

    @property
    def progress(self) -> bool:
        """Whether long work shows how far it is."""
        return not self.quiet


settings = Settings()

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder that `c2llm-lite convert` wrote.")]
Device = Annotated[str, typer.Option(help="Where to run: auto, cpu, or what the bundle's engine has (cuda, mps, GPU).")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; default: the physical cores granted.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a machine to read.")]


def fail(reason: str) -> None:
    """Print why something failed, on standard error."""
    err.print(Text.assemble(("failed: ", "red"), reason))


def print_table(table: Table) -> None:
    """Print `table` on standard output, as wide as the terminal."""
    out.print(table, soft_wrap=False)


def print_json(data: Any) -> None:
    """Print `data` as JSON on standard output."""
    print(json.dumps(data, indent=1, ensure_ascii=False))
