"""`c2llm-lite embed`: a file of texts into a file of vectors."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ..vectors import Precision
from .failures import when_stopped
from .options import BundleArgument, Device, Force, Threads, err, settings


class PrecisionName(str, Enum):
    """The forms a vector can be written in, as the command line lists them."""

    float32 = "float32"
    int8 = "int8"
    binary = "binary"


def embed(
    bundle: BundleArgument,
    source: Annotated[str, typer.Argument(metavar="[FILE|-]", help="Texts, one a line; - is standard input.")] = "-",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT", help=".npy, .jsonl or .parquet.")
    ] = None,
    field: Annotated[str | None, typer.Option(help="FILE is JSONL, and this field holds the text.")] = None,
    prompt_name: Annotated[str | None, typer.Option(help="query, document, or a task's, such as CosQA-query.")] = None,
    prompt: Annotated[str | None, typer.Option(help="A literal prefix, in place of --prompt-name.")] = None,
    dim: Annotated[int | None, typer.Option(min=1, help="Keep the first components only.")] = None,
    precision: Annotated[PrecisionName, typer.Option(help="The form of the vectors.")] = PrecisionName.float32,
    normalize: Annotated[bool, typer.Option(help="Scale vectors to unit length.")] = True,
    device: Device = "auto",
    threads: Threads = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Cut longer texts here.")] = None,
    cache: Annotated[bool, typer.Option(help="Keep compiled graphs (OpenVINO's) in the user's cache folder.")] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run that was stopped left off.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out lines that cannot be embedded; OUT.left_out.jsonl lists them.")
    ] = False,
    force: Force = False,
) -> None:
    """Embed a file of texts, of any size, and write the vectors.

    Example: c2llm-lite embed c2llm-q8 functions.jsonl --field code --prompt-name document -o functions.npy
    """
    from ..bulk.file import check_output, embed_file
    from ..embedder import load

    if output is None:
        raise typer.BadParameter("say where to write the vectors: -o OUT.npy")
    check_output(output, resume=resume, force=force)
    with (
        when_stopped(lambda: _kept(output)),
        load(bundle, device=device, threads=threads, max_tokens=max_tokens, cache=cache) as model,
    ):
        written = embed_file(
            model,
            source,
            output,
            field=field,
            prompt_name=prompt_name,
            prompt=prompt,
            dim=dim,
            normalize=normalize,
            precision=_precision(precision),
            resume=resume,
            force=force,
            skip_bad=skip_bad,
            progress=settings.progress,
        )
    err.print(f"{output}: {written.rows:,} vectors in {written.seconds:,.1f} s")
    if written.left_out:
        err.print(f"{written.left_out:,} lines left out, listed in {output}.left_out.jsonl")


def _kept(output: Path) -> str:
    parts = output.with_name(f"{output.name}.partial")
    if not parts.exists():
        return f"no part of {output} was finished"
    return f"finished parts are kept in {parts}; continue with the same command and --resume"


def _precision(name: PrecisionName) -> Precision:
    return name.value
