"""The command line: one file for each command, or for two related ones.

Exit codes: 0 success; 1 failure, and standard error says what to do; 2 invalid command line; 3 a search found nothing;
130 stopped by Ctrl-C; 143 stopped by SIGTERM.
"""

from __future__ import annotations

import logging
from typing import Annotated

import typer
from rich.logging import RichHandler

from .. import __version__
from .argument_help import with_argument_help
from .bench import bench
from .cache import cache
from .convert import convert, demo
from .doctor import doctor
from .embed import embed
from .embed_dataset import embed_dataset
from .failures import guarded
from .options import err, out
from .search import duplicates, index, search
from .serve import serve
from .sign import sign
from .verify import info, verify

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    convert,
    embed,
    embed_dataset,
    info,
    verify,
    doctor,
    sign,
    search,
    index,
    duplicates,
    cache,
    serve,
    bench,
    demo,
):
    app.command(cls=with_argument_help(command))(guarded(command))


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(f"c2llm-lite {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Embed and search code with C2LLM, on a CPU or a GPU, without a network."""


def main() -> None:
    """The entry point."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=err, show_path=False, show_time=False)],
    )
    logging.getLogger("c2llm_lite.llama_cpp").setLevel(
        logging.ERROR
    )  # it warns about a headless file's empty vocabulary
    app()
