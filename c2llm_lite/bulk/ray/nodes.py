"""Brings a bundle to the nodes of a Ray cluster, and loads one Embedder in each actor there.

The bundle is on a shared file system, at the same path on each node, or in Ray's object store (ship()).
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
from ...signature import PublicKey, open_bundle

WORKER_MEMORY = 200 << 20  # bytes of a worker without the bundle; Ray reported 124 MiB for one


class Shipped:
    """A bundle in Ray's object store, as ship() returns it. A node fetches it once, into its user's cache folder.

    Attributes:
        bundle: The bundle that was shipped, at its original place.
    """

    def __init__(self, bundle: bundles.Bundle) -> None:
        self.bundle = bundle
        names = [*bundles.MANIFEST_FILES, *bundle.manifest.files]
        if not bundle.path(bundles.SIGNATURE).exists():
            names.remove(bundles.SIGNATURE)
        self._files = {name: ray.put(np.fromfile(bundle.path(name), np.uint8)) for name in names}

    def fetch(self) -> Path:
        """The bundle's folder on this node. Every file's hash is checked when it is written.

        Returns:
            The folder.

        Raises:
            OutputError: The cache folder cannot be written.
        """
        folder = cache_folder() / "bundles" / self.bundle.sha256[:16]
        if folder.exists():
            return folder
        try:
            with staged(folder) as staging:
                for name, content in self._files.items():
                    (staging / name).write_bytes(ray.get(content).data)
                bundles.open_bundle(staging, check=True)
        except OutputError:
            if not folder.exists():  # otherwise, another actor of this node was faster
                raise
        return folder


def ship(bundle: str | Path, *, public_key: PublicKey | None = None, revoked: str | Path | None = None) -> Shipped:
    """Put a bundle into the object store of the connected cluster, for nodes without a shared file system.

    Args:
        bundle: The bundle's folder here.
        public_key: As in load().
        revoked: As in load().

    Returns:
        A value to pass to embed_column() as its bundle. Keep it until the dataset is consumed.

    Raises:
        BundleError: The bundle cannot be read here, or is not signed.
    """
    return Shipped(open_bundle(bundle, public_key=public_key, revoked=revoked))


class OnNode:
    """Loads an actor's Embedder, only from the bundle with this sha256. check: hash each of its files."""

    def __init__(self, bundle: str | Path | Shipped, sha256: str, threads: int, *, check: bool = False) -> None:
        # A worker's current folder is not the driver's.
        self._bundle = bundle if isinstance(bundle, Shipped) else Path(bundle).absolute()
        self._sha256 = sha256
        self._threads = threads
        self._check = check

    @functools.cached_property
    def model(self) -> Embedder:
        """The Embedder, loaded on first use: for an error in an actor's constructor Ray prints the trace five times.

        Raises BundleError, naming the node, if it cannot read the bundle, or has another bundle at this path.
        """
        try:
            folder = self._bundle.fetch() if isinstance(self._bundle, Shipped) else self._bundle
            model = load(folder, threads=self._threads, check=self._check)
        except (BundleError, OSError) as error:
            raise BundleError(
                f"node {platform.node()} cannot read the bundle: {error}; copy it to this path on every node, or send "
                "it with ship() (on the command line: --ship)"
            ) from None
        if model.bundle.sha256 != self._sha256:
            raise BundleError(
                f"node {platform.node()}: {folder} contains bundle {model.bundle.sha256[:12]} instead of "
                f"{self._sha256[:12]}; copy that one to every node, or send it with ship()"
            )
        return model


def worker_memory(bundle: bundles.Bundle) -> int:
    """Bytes of memory that an actor needs."""
    return bundle.manifest.memory + WORKER_MEMORY


def actor_pool(actors: int | tuple[int, int], *, in_flight: int) -> ActorPoolStrategy:
    """A pool of actors. in_flight: tasks assigned to an actor, including the running one."""
    fewest, most = (actors, actors) if isinstance(actors, int) else actors
    return ActorPoolStrategy(min_size=fewest, max_size=most, max_tasks_in_flight_per_actor=in_flight)


def vectors_array(vectors: Any, kept: list[int], rows: int) -> pa.FixedSizeListArray:
    """Vectors (kept, d) as an Arrow array of `rows` lists of d, null for skipped rows."""
    width = vectors.shape[1]
    whole = np.zeros((rows, width), vectors.dtype)
    whole[kept] = vectors
    missing = np.ones(rows, bool)
    missing[kept] = False
    return pa.FixedSizeListArray.from_arrays(pa.array(whole.ravel()), width, mask=pa.array(missing))
