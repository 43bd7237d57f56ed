"""A bundle on Ray Data: embed_dataset() over a Dataset, one Embedder an actor, on every machine of a cluster.

Ray schedules, retries and moves blocks; nothing here does. A batch is cut by rows, as Ray cuts, and is large enough
that embed() fills its packs by tokens inside it: of a batch of 2,048 functions (some 250,000 tokens, 500 packs of 512)
only the last pack is part full. What is tokenised at a time is bounded by characters (embed_parts/rows.py), so that
long texts do not fill the memory.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import Any

import numpy as np

from .. import bundle as bundles
from ..cache import cache_folder
from ..embed_parts.rows import checked_prompt, embed_rows, values
from ..embedder import Embedder, load
from ..errors import BundleError, InputError, MissingDependencyError, OutputError
from ..vectors import Precision

try:
    import pyarrow as pa
    import ray
    from ray.data import ActorPoolStrategy, Dataset
except ImportError as error:
    raise MissingDependencyError("ray", "ray", "c2llm_lite.integrations.ray") from error

BATCH_ROWS = 2048
WORKER_MEMORY = 200 << 20  # bytes of a worker's own, beside the bundle's: Ray's account of one was 124 MiB


class Shipped:
    """A bundle whose files lie in Ray's object store: a node fetches them once, into its user's cache folder.

    Made by ship(). bundle: the one that was shipped; its folder is where it lay.
    """

    def __init__(self, bundle: bundles.Bundle) -> None:
        self.bundle = bundle
        names = [bundles.MANIFEST, bundles.MANIFEST_HASH, *bundle.manifest.files]
        self._files = {name: ray.put(np.fromfile(bundle.path(name), np.uint8)) for name in names}

    def fetch(self) -> Path:
        """The bundle's folder on this node, every file's hash checked when it was written."""
        folder = cache_folder() / "bundles" / self.bundle.sha256[:16]
        if folder.exists():
            return folder
        try:
            with bundles.staged(folder) as staging:
                for name, content in self._files.items():
                    (staging / name).write_bytes(ray.get(content).data)
                bundles.open_bundle(staging, check=True)
        except OutputError:
            if not folder.exists():  # else another actor of this node was first
                raise
        return folder


def ship(bundle: str | Path) -> Shipped:
    """Put a bundle into the object store of the cluster that ray.init() reached, for nodes that share no file system.

    Give the result to embed_dataset() in the bundle's place, and keep it until the dataset was consumed. Raises
    BundleError where the bundle cannot be read here.
    """
    return Shipped(bundles.open_bundle(bundle))


def embed_dataset(
    ds: Dataset,
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
) -> Dataset:
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
        raise ValueError(f"batch_rows is {batch_rows} and cpus_per_actor {cpus_per_actor}; give 1 or more")
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


class OnNode:
    """How an actor comes by its Embedder: from the bundle of this sha256 alone, with so many threads."""

    def __init__(self, bundle: str | Path | Shipped, sha256: str, threads: int) -> None:
        # A worker's folder is not the driver's.
        self._bundle = bundle if isinstance(bundle, Shipped) else Path(bundle).absolute()
        self._sha256 = sha256
        self._threads = threads

    @functools.cached_property
    def model(self) -> Embedder:
        """Loaded when first asked for: of an error in an actor's constructor Ray prints the whole trace, five times.

        Raises BundleError, naming the node, where it cannot read the bundle, or has another by this name.
        """
        try:
            folder = self._bundle.fetch() if isinstance(self._bundle, Shipped) else self._bundle
            model = load(folder, threads=self._threads)
        except (BundleError, OSError) as error:
            raise BundleError(
                f"node {platform.node()} cannot read the bundle: {error}. Put it where every node can read it by this "
                "name, or send it with ship() (on the command line: --ship)"
            ) from None
        if model.bundle.sha256 != self._sha256:
            raise BundleError(
                f"node {platform.node()}: {folder} is another bundle ({model.bundle.sha256[:12]}) than the one asked "
                f"for ({self._sha256[:12]}): copy that one to every node, or send it with ship()"
            )
        return model


def worker_memory(bundle: bundles.Bundle) -> int:
    """Bytes that an actor takes."""
    return bundle.manifest.memory + WORKER_MEMORY


def actor_pool(actors: int | tuple[int, int], *, in_flight: int) -> ActorPoolStrategy:
    """in_flight: tasks that an actor holds, the one it works on among them."""
    fewest, most = (actors, actors) if isinstance(actors, int) else actors
    return ActorPoolStrategy(min_size=fewest, max_size=most, max_tasks_in_flight_per_actor=in_flight)


def vectors_array(vectors: Any, kept: list[int], rows: int) -> pa.FixedSizeListArray:
    """(kept, d) as an Arrow array of `rows` lists of d, null where a row was left out."""
    width = vectors.shape[1]
    whole = np.zeros((rows, width), vectors.dtype)
    whole[kept] = vectors
    missing = np.ones(rows, bool)
    missing[kept] = False
    return pa.FixedSizeListArray.from_arrays(pa.array(whole.ravel()), width, mask=pa.array(missing))


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
