"""A dataset of Ray's with a column of embeddings more: embed_column(), one Embedder an actor, on every node.

Ray schedules, retries and moves blocks; nothing here does. A batch is cut by rows, as Ray cuts, and is large enough
that embed() fills its packs by tokens inside it: of a batch of 2,048 functions (some 250,000 tokens, 500 packs of 512)
only the last pack is part full. What is tokenised at a time is bounded by characters (bulk/rows.py), so that long texts
do not fill the memory.
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
    """`ds` with two columns more; lazy, as Ray's own transformations are.

    output: the vector, a fixed-size list of d float32 (or int8, or ceil(d / 8) uint8: see Embedder.embed), unit length;
    null for a row that cannot be embedded (null or not text, empty without a prompt, not Unicode). output + "_error":
    why, a string; null for every other row.

    bundle: a folder that this process and every node can read by this name, or what ship() gave.
    column: the texts'. prompt_name, prompt, dim, precision: as Embedder.embed takes them.
    actors: how many, or (fewest, most); None lets Ray add them up to the CPUs that the cluster has now, less one. Each
    holds the model. Where actors hold every CPU, the tasks that read wait for ever: leave them one, or give them none
    (ray_remote_args={"num_cpus": 0} of Ray's readers). cpus_per_actor: the CPUs, and the threads, of each.
    batch_rows: what an actor embeds at a time. Small blocks are put together to so many rows; a larger block is one
    task, which Ray does again from its beginning when the actor is killed: ds.repartition(target_num_rows_per_block=)
    cuts finer.
    remote: more of Dataset.map_batches' settings, such as num_gpus=1; memory, by which Ray keeps a node
    from taking more actors than it can hold, is the bundle's own account unless given.

    Raises BundleError where the bundle cannot be read here, InputError where a dataset that knows its columns has no
    `column`, ValueError for an argument out of range. A node that cannot read the bundle, or has another, ends the job
    with a BundleError in Ray's own error.
    """
    opened = bundle.bundle if isinstance(bundle, Shipped) else bundles.open_bundle(bundle)
    prefix = checked_prompt(opened, prompt_name, prompt, dim, precision)
    if batch_rows < 1 or cpus_per_actor < 1:
        raise ArgumentError(f"batch_rows is {batch_rows} and cpus_per_actor {cpus_per_actor}; give 1 or more")
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
        # One on its way while one is worked on; with one alone, Ray would never add an actor.
        compute=actor_pool(actors or (1, _all_but_one(cpus_per_actor)), in_flight=2),
        num_cpus=cpus_per_actor,
        **{"memory": worker_memory(opened)} | remote,
    )


class _Batches:
    """Ray's callable class: constructed once an actor, called with each batch."""

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
    """Actors that leave a CPU of the cluster to tasks that read; Ray's own choice was seen to leave none, and hang."""
    return max(1, (int(ray.cluster_resources().get("CPU", 1)) - 1) // cpus_per_actor)


def _has_column(column: str, names: list[str]) -> None:
    if column not in names:
        raise InputError(f"the dataset has no column {column!r}; it has: {', '.join(names)}")
