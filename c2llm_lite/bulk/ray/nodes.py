"""How a bundle reaches the nodes of a Ray cluster, and the actors there that each hold one Embedder.

A bundle lies on a file system that all nodes share, at the same path on each, or in Ray's object store (ship()).
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy

from ... import bundle as bundles
from ...cache import cache_folder
from ...durable import staged
from ...embedder import Embedder, load
from ...errors import BundleError, OutputError

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
            with staged(folder) as staging:
                for name, content in self._files.items():
                    (staging / name).write_bytes(ray.get(content).data)
                bundles.open_bundle(staging, check=True)
        except OutputError:
            if not folder.exists():  # else another actor of this node was first
                raise
        return folder


def ship(bundle: str | Path) -> Shipped:
    """Put a bundle into the object store of the cluster that ray.init() reached, for nodes that share no file system.

    Give the result to embed_column() in the bundle's place, and keep it until the dataset was consumed. Raises
    BundleError where the bundle cannot be read here.
    """
    return Shipped(bundles.open_bundle(bundle))


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
