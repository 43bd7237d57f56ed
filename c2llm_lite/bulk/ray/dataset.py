"""Adds a column of embeddings to a Ray dataset: embed_column(), with one Embedder per actor on every node.

Ray does the scheduling, retrying and moving of blocks. It cuts batches by rows. A batch is large enough for embed() to
fill its packs by tokens: in a batch of 2,048 functions (some 250,000 tokens, 500 packs of 512), only the last pack is
partly empty. Tokenization is bounded by characters (bulk/rows.py), so that long texts do not exhaust the memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data

from ... import bundle as bundles
from ...errors import ArgumentError, InputError
from ...vectors import Precision
from ..rows import checked_prompt, embed_rows, values
from .nodes import OnNode, Shipped, actor_pool, vectors_array, worker_memory

BATCH_ROWS = 2048


def embed_column(
    ds: ray.data.Dataset,
    bundle: str | Path | Shipped,
    *,
    column: str = "text",
    output: str = "embedding",
    prompt_name: str | None = None,
    prompt: str | None = None,
    dim: int | None = None,
    precision: Precision = "float32",
    actors: int | tuple[int, int] | None = None,
    cpus_per_actor: int = 1,
    batch_rows: int = BATCH_ROWS,
    **remote: Any,
) -> ray.data.Dataset:
    """Add two columns to a Ray dataset: each row's vector, and the reason if it has none. Lazy, as Ray's methods.

    The vector is a fixed-size list of d float32 (or int8, or ceil(d / 8) uint8: see Embedder.embed()) of unit length,
    or null if the row cannot be embedded: it is null, not a string, empty without a prompt, or not valid Unicode.

    Args:
        ds: The dataset.
        bundle: A folder that this process and every node can read at this path, or the result of ship().
        column: The column of texts.
        output: The name of the vectors' column; output + "_error" is the name of the reasons' column.
        prompt_name: As in Embedder.embed().
        prompt: As in Embedder.embed().
        dim: As in Embedder.embed().
        precision: As in Embedder.embed().
        actors: The number of actors, or (minimum, maximum). Each actor loads the model. None means up to the CPUs that
            the cluster has now, minus one. If actors hold every CPU, Ray's reading tasks wait forever: leave them one
            CPU, or give them none (ray_remote_args={"num_cpus": 0} of Ray's readers).
        cpus_per_actor: The CPUs, and the threads, of each actor.
        batch_rows: Rows that an actor embeds at a time. Ray joins small blocks to this size. A larger block is one
            task, which Ray repeats from its start if the actor is killed; ds.repartition(target_num_rows_per_block=)
            makes smaller blocks.
        **remote: Further arguments of Dataset.map_batches, such as num_gpus=1. memory, which limits the actors on a
            node, defaults to the bundle's own figure.

    Returns:
        The dataset with the two further columns.

    Raises:
        BundleError: The bundle cannot be read here. If a node cannot read it, or has another, the job ends with this
            error inside Ray's own.
        InputError: The dataset has no such column.
        ArgumentError: An argument is out of range.
    """
    opened = bundle.bundle if isinstance(bundle, Shipped) else bundles.open_bundle(bundle)
    prefix = checked_prompt(opened, prompt_name, prompt, dim, precision)
    if batch_rows < 1 or cpus_per_actor < 1:
        raise ArgumentError(f"batch_rows is {batch_rows} and cpus_per_actor {cpus_per_actor}; pass 1 or more")
    schema = ds.schema(fetch_if_missing=False)
    if schema is not None:
        _has_column(column, schema.names)
    constructor = {
        "node": OnNode(bundle, opened.sha256, cpus_per_actor),
        "column": column,
        "output": output,
        "settings": {"prompt": prefix, "dim": dim, "precision": precision},
    }
    return ds.map_batches(
        _Batches,
        fn_constructor_kwargs=constructor,
        batch_size=batch_rows,
        batch_format="pyarrow",
        udf_modifying_row_count=False,
        # One batch in transit while one is computed. With only one, Ray would never add an actor.
        compute=actor_pool(actors or (1, _all_but_one(cpus_per_actor)), in_flight=2),
        num_cpus=cpus_per_actor,
        **{"memory": worker_memory(opened)} | remote,
    )


class _Batches:
    """Ray's callable class: constructed once per actor, called with each batch."""

    def __init__(self, node: OnNode, column: str, output: str, settings: dict[str, Any]) -> None:
        self._node = node
        self._column = column
        self._output = output
        self._settings = settings

    def __call__(self, batch: pa.Table) -> pa.Table:
        _has_column(self._column, batch.column_names)
        done = embed_rows(self._node.model, values(batch[self._column]), **self._settings)
        reasons = [done.left_out.get(i) for i in range(len(batch))]
        vectors = vectors_array(done.vectors, done.kept, len(batch))
        with_vectors = batch.append_column(self._output, vectors)
        return with_vectors.append_column(f"{self._output}_error", pa.array(reasons, pa.string()))


def _all_but_one(cpus_per_actor: int) -> int:
    """The number of actors that leaves one CPU to reading tasks. Ray's own default left none, and hung."""
    return max(1, (int(ray.cluster_resources().get("CPU", 1)) - 1) // cpus_per_actor)


def _has_column(column: str, names: list[str]) -> None:
    if column not in names:
        raise InputError(f"the dataset has no column {column!r}; it has {', '.join(names)}")
