"""`c2llm-lite embed-dataset`: files of rows into a folder of vectors, on one machine or a Ray cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import machine
from ..errors import MissingDependencyError, OutputError
from .embed import PrecisionName
from .failures import when_stopped
from .options import BundleArgument, err, fail


def embed_dataset(
    bundle: BundleArgument,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="IN...", help="Parquet, JSONL or Arrow files, or folders of them.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT/", help="The folder for parts, in parquet.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(envvar="RAY_ADDRESS", help="A Ray cluster: auto, HOST:PORT or ray://HOST:PORT.")
    ] = None,
    column: Annotated[str, typer.Option(help="The column that holds the text.")] = "text",
    id_column: Annotated[
        str | None, typer.Option("--id", metavar="COLUMN", help="Ids to keep; default: made of input and row.")
    ] = None,
    prompt_name: Annotated[str | None, typer.Option(help="query, document, or a task's, such as CosQA-query.")] = None,
    prompt: Annotated[str | None, typer.Option(help="A literal prefix, in place of --prompt-name.")] = None,
    dim: Annotated[int | None, typer.Option(min=1, help="Keep the first components only.")] = None,
    precision: Annotated[PrecisionName, typer.Option(help="The form of the vectors.")] = PrecisionName.float32,
    actors: Annotated[int | None, typer.Option(min=1, help="Models at once; default: as many as fit.")] = None,
    cpus_per_actor: Annotated[int, typer.Option(min=1, help="CPUs, and threads, of each.")] = 1,
    gpus_per_actor: Annotated[float, typer.Option(min=0, help="GPUs of each.")] = 0,
    ship: Annotated[
        bool, typer.Option("--ship", help="Send the bundle to the nodes; else each reads it by this name.")
    ] = False,
    part_rows: Annotated[int | None, typer.Option(min=1, help="Rows of a part; default: 2048.")] = None,
) -> None:
    """Embed files of any size on a Ray cluster, or on this machine. Parts that are there and whole are not made again.

    Example: c2llm-lite embed-dataset c2llm-q8 functions/ --column code --prompt-name document -o vectors/
    """
    if output is None:
        raise typer.BadParameter("say where to write the parts: -o OUT/")
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
    )
    # Of a machine of our own, the physical cores: two threads of one share what a matrix product needs.
    ray.init(**{"address": address} if address else {"address": "local", "num_cpus": machine.cores()})
    try:
        with when_stopped(lambda: f"finished parts are kept in {output}; the same command continues"):
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
        f"{output}: {written.rows:,} vectors in {written.parts:,} new parts; {planned.there:,} parts were there; "
        f"{written.left_out:,} rows left out, listed in _left_out.jsonl"
    )
    if written.parts and not written.rows:
        fail("no row could be embedded: see _left_out.jsonl for the reasons")
        raise typer.Exit(1)
