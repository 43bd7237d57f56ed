"""A bundle whose engine is loaded when the first text is embedded, or beside other work that comes before that.

A search by words needs no engine, and a search by meaning reads the index while the engine is being loaded.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..embedder import Embedder, load
from ..signature import PublicKey, open_bundle


class OnDemand:
    """An Embedder's face, as far as an index uses it. A context manager."""

    def __init__(
        self,
        bundle: Path,
        *,
        device: str,
        threads: int | None,
        public_key: PublicKey | None = None,
        revoked: str | Path | None = None,
    ) -> None:
        """Read the bundle's manifest, and check its signature where a key is given. Raises BundleError."""
        signed: dict[str, Any] = {"public_key": public_key, "revoked": revoked}
        self.bundle = open_bundle(bundle, **signed)
        manifest = self.bundle.manifest
        self.dim, self.max_tokens, self.prompts = manifest.width, manifest.max_tokens, dict(manifest.prompts)
        self._arguments: dict[str, Any] = {"device": device, "threads": threads} | signed
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="loading the engine")
        self._loading: Future[Embedder] | None = None

    def start(self) -> None:
        """Begin to load the engine beside what the caller does."""
        if self._loading is None:
            self._loading = self._pool.submit(load, self.bundle.folder, **self._arguments)

    def embed(self, texts: Any, **options: Any) -> Any:
        """As Embedder.embed(). Raises what load() raises."""
        self.start()
        assert self._loading is not None
        return self._loading.result().embed(texts, **options)

    def close(self) -> None:
        """Free the engine, if it was loaded."""
        self._pool.shutdown()
        if self._loading is not None and self._loading.exception() is None:
            self._loading.result().close()

    def __enter__(self) -> OnDemand:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
