"""`c2llm-lite embed-dataset`: embeds files of rows into a folder of vectors, on one machine or a Ray cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import machine
from ..errors import MissingDependencyError, OutputError
from .embed import PrecisionName, Precisions
from .failures import when_stopped
from .options import BundleArgument, Dim, Prompt, PromptName, PublicKeys, Revoked, err, fail, signature


def embed_dataset(
    bundle: BundleArgument,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="IN...", help="Parquet, JSONL or Arrow files, or folders of them.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="OUT/", help="The folder to write Parquet parts to. [red]\\[required][/]"
        ),
    ] = None,
    column: Annotated[str, typer.Option(help="The column that contains the text.")] = "text",
    id_column: Annotated[
        str | None,
        typer.Option(
            "--id", metavar="COLUMN", help="The column of ids to keep. [dim]\\[default: made from input and row][/]"
        ),
    ] = None,
    prompt_name: PromptName = None,
    prompt: Prompt = None,
    address: Annotated[
        str | None,
        typer.Option(
            envvar="RAY_ADDRESS",
            help="A Ray cluster: auto, HOST:PORT or ray://HOST:PORT. [dim]\\[default: this machine][/]",
        ),
    ] = None,
    ship: Annotated[
        bool, typer.Option("--ship", help="Send the bundle to the nodes; otherwise each node reads it from this path.")
    ] = False,
    actors: Annotated[
        int | None, typer.Option(min=1, help="Models to run in parallel. [dim]\\[default: as many as fit][/]")
    ] = None,
    cpus_per_actor: Annotated[int, typer.Option(min=1, help="CPUs, and threads, for each model.")] = 1,
    gpus_per_actor: Annotated[float, typer.Option(min=0, help="GPUs for each model.")] = 0,
    precision: Precisions = PrecisionName.float32,
    dim: Dim = None,
    part_rows: Annotated[int | None, typer.Option(min=1, help="Rows in each part. [dim]\\[default: 2048][/]")] = None,
    public_key: PublicKeys = None,
    revoked: Revoked = None,
) -> None:
    """Embed files of any size on a Ray cluster or on this machine. Complete parts of an earlier run are kept.

    Example: c2llm-lite embed-dataset c2llm-q8 functions/ --column code --prompt-name document -o vectors/
    """
    if output is None:
        raise typer.BadParameter("no output given; pass -o OUT/")
    signed = signature(public_key, revoked)
    try:
        import ray

        from ..bulk.ray.nodes import ship as to_nodes
        from ..bulk.ray.plan import PART_ROWS, plan
        from ..bulk.ray.run import run
    except ImportError as error:
        raise MissingDependencyError(error.name or "ray", "ray", "embed-dataset") from error
    planned = plan(
        bundle,
        inputs,
        output,
        column=column,
        id_column=id_column,
        prompt_name=prompt_name,
        prompt=prompt,
        dim=dim,
        precision=precision.value,
        part_rows=part_rows or PART_ROWS,
        **signed,
    )
    # On this machine, use physical cores: two threads of one core share its vector units.
    ray.init(**{"address": address} if address else {"address": "local", "num_cpus": machine.cores()})
    try:
        with when_stopped(lambda: f"finished parts are kept in {output}; repeat the command to continue"):
            written = run(
                planned,
                shipped=to_nodes(bundle) if ship else None,
                actors=actors,
                cpus_per_actor=cpus_per_actor,
                gpus_per_actor=gpus_per_actor,
            )
    except ray.exceptions.RayError as error:
        raise OutputError(f"the Ray job failed: {error}") from error
    finally:
        ray.shutdown()
    err.print(
        f"{output}: {written.rows:,} vectors in {written.parts:,} new parts; {planned.there:,} parts were complete; "
        f"{written.left_out:,} rows skipped, listed in _left_out.jsonl"
    )
    if written.parts and not written.rows:
        fail("no row could be embedded; _left_out.jsonl lists the reasons")
        raise typer.Exit(1)
