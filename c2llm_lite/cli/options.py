"""What several commands share: arguments and options, worded once, and printing for people and for a machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

out = Console()
err = Console(stderr=True)

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder that `c2llm-lite convert` wrote.")]
Device = Annotated[str, typer.Option(help="Where to run: auto, cpu, or what the bundle's engine has (cuda, mps, GPU).")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; default: the physical cores granted.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a machine to read.")]


def print_json(data: Any) -> None:
    """Print `data` as JSON on standard output."""
    print(json.dumps(data, indent=1, ensure_ascii=False))
