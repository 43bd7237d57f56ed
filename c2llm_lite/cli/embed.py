"""`c2llm-lite embed`: embeds a file of texts into a file of vectors."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .failures import when_stopped
from .options import (
    BundleArgument,
    Device,
    Dim,
    Force,
    MaxTokens,
    Prompt,
    PromptName,
    PublicKeys,
    Revoked,
    Threads,
    err,
    settings,
    signature,
)

if TYPE_CHECKING:
    from ..vectors import Precision


class PrecisionName(str, Enum):
    """The number formats of vectors, as the command line lists them."""

    float32 = "float32"
    int8 = "int8"
    binary = "binary"


Precisions = Annotated[PrecisionName, typer.Option(help="The number format of the vectors.")]


def embed(
    bundle: BundleArgument,
    source: Annotated[str, typer.Argument(metavar="[FILE|-]", help="Texts, one per line; - is standard input.")] = "-",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="OUT", help="The file to write: .npy, .jsonl or .parquet. [red]\\[required][/]"
        ),
    ] = None,
    field: Annotated[str | None, typer.Option(help="Read FILE as JSON lines; this field contains the text.")] = None,
    prompt_name: PromptName = None,
    prompt: Prompt = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    force: Force = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Skip lines that cannot be embedded; OUT.left_out.jsonl lists them.")
    ] = False,
    precision: Precisions = PrecisionName.float32,
    dim: Dim = None,
    normalize: Annotated[bool, typer.Option(help="Scale vectors to unit length.")] = True,
    max_tokens: MaxTokens = None,
    device: Device = "auto",
    threads: Threads = None,
    cache: Annotated[bool, typer.Option(help="Keep OpenVINO's compiled graphs in the user's cache folder.")] = True,
    public_key: PublicKeys = None,
    revoked: Revoked = None,
) -> None:
    """Embed a file of texts of any size and write the vectors.

    Example: c2llm-lite embed c2llm-q8 functions.jsonl --field code --prompt-name document -o functions.npy
    """
    from ..bulk.file import check_output, embed_file
    from ..embedder import load

    if output is None:
        raise typer.BadParameter("no output given; pass -o OUT.npy")
    signed = signature(public_key, revoked)
    check_output(output, resume=resume, force=force)
    with (
        when_stopped(lambda: _kept(output)),
        load(bundle, device=device, threads=threads, max_tokens=max_tokens, cache=cache, **signed) as model,
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
        err.print(f"{written.left_out:,} lines skipped, listed in {output}.left_out.jsonl")


def _kept(output: Path) -> str:
    parts = output.with_name(f"{output.name}.partial")
    if not parts.exists():
        return f"no part of {output} was finished; nothing is kept"
    return f"finished parts are kept in {parts}; repeat the command with --resume to continue"


def _precision(name: PrecisionName) -> Precision:
    return name.value
