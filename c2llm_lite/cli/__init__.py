"""The command line: one file a command, or two that belong together.

Exit codes: 0, done; 1, it failed, and standard error says what to do; 2, the command was not understood.
"""

from __future__ import annotations

import logging
import sys

import typer
from rich.logging import RichHandler

from .bench import bench
from .convert import convert, demo
from .embed import embed
from .embed_dataset import embed_dataset
from .options import err
from .search import duplicates, index, search
from .serve import serve
from .verify import info, verify

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
for command in (convert, embed, embed_dataset, info, verify, search, index, duplicates, serve, bench, demo):
    app.command()(command)


def main() -> None:
    """The entry point: what a user can mend is told in one line, without a traceback."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=err, show_path=False, show_time=False)],
    )
    logging.getLogger("c2llm_lite.llama_cpp").setLevel(logging.ERROR)  # it warns of a headless file's empty vocabulary
    try:
        app()
    except (ValueError, OSError, ImportError, MemoryError) as error:
        err.print(f"[red]error:[/red] {error}", highlight=False, soft_wrap=True)
        sys.exit(1)
