"""Texts in, vectors out: the only module that knows the full pipeline from a string to an embedding."""

from __future__ import annotations

import contextlib
import logging
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import blas, forks, machine, signature, text, vectors
from . import bundle as bundles
from .arguments import check_whole
from .cache import compiled
from .engines import Engine, TokenIds, open_engine
from .errors import ArgumentError, BundleError, DeviceError
from .head_file import read_head
from .packing import packs, room
from .pma import Array
from .progress import reported
from .vectors import Precision

log = logging.getLogger(__name__)


class Embedder:
    """A loaded bundle, as `load` returns it. A context manager. Threads that share it take turns on the engine.

    Attributes:
        bundle: The opened bundle with its manifest.
        dim: The number of components of a vector.
        max_tokens: Texts are truncated from the right to this many tokens, prompt included.
        prompts: The bundle's prompts: prefix by name.
    """

    def __init__(
        self, bundle: bundles.Bundle, *, device: str, threads: int | None, max_tokens: int, cache: Path | None = None
    ) -> None:
        manifest = bundle.manifest
        self._loaded_with = dict[str, object](device=device, threads=threads, max_tokens=max_tokens, cache=bool(cache))
        self._threads = threads or machine.cores()
        self.bundle = bundle
        self.dim = manifest.width
        self.max_tokens = max_tokens
        self.prompts = dict(manifest.prompts)
        self._head = read_head(bundle)
        self._tokenizer = text.TextTokenizer(bundle.path(bundles.TOKENIZER), max_tokens, remember=cache is not None)
        self._turn = threading.Lock()
        self._narrow_warned = False
        blas.check()
        self._engine: Engine | None = open_engine(
            bundle, device=device, threads=self._threads, max_tokens=max_tokens, cache=cache
        )

    def embed(
        self,
        texts: str | Iterable[str],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        dim: int | None = None,
        normalize: bool = True,
        precision: Precision = "float32",
        progress: bool | Callable[[float], None] = False,
    ) -> NDArray[Any]:
        """Embed texts.

        Args:
            texts: One string, or an iterable of n strings.
            prompt_name: The prompt to put before each text: "query", "document", or a task's, such as "CosQA-query".
            prompt: A literal prefix, instead of `prompt_name`. With neither, the bare text is embedded.
            dim: Keep only the first components, and normalize again. The model was not trained for this.
            normalize: Scale vectors to unit length, so that a dot product is the cosine.
            precision: "float32"; "int8", round(127 x / max|x|) of each vector; or "binary", each component's sign bit,
                packed big-endian.
            progress: True prints the rate and the time left. A function is called after each pass with the completed
                fraction of the work, up to 1.

        Returns:
            The vectors in order: (d,) for one string, (n, d) for n; "binary" ones are uint8 of ceil(d / 8) bytes.

        Raises:
            TextError: A text is empty (without a prompt), not a string, or not valid Unicode; names its index.
            ArgumentError: An argument is out of range.
        """
        vectors.check(dim, precision, self.dim)
        prefix = text.choose_prompt(self.prompts, prompt_name, prompt)
        listed = text.as_list(texts)
        ids = self._tokenizer.encode(listed, prefix) if listed else []
        found = self.embed_tokens(ids, prompt=prefix, progress=progress)[:, : self._width(dim)]
        if normalize:
            found = vectors.normalize(found)
        encoded = vectors.encode(found, precision)
        return encoded[0] if isinstance(texts, str) else encoded

    def tokenize(
        self, texts: Sequence[str], *, prompt: str = "", first_index: int = 0, cut: bool = True
    ) -> list[list[int]]:
        """The token ids that embed() runs for each text, for embed_tokens().

        Args:
            texts: The texts.
            prompt: A literal prefix of each text.
            first_index: The index of the first text in error messages.
            cut: Truncate texts to max_tokens; otherwise a longer text is a TextError. Others are as in embed().

        Returns:
            Each text's token ids, those of the prompt included.
        """
        return self._tokenizer.encode(texts, prompt, first_index=first_index, cut=cut)

    def tokenise(self, *arguments: Any, **settings: Any) -> list[list[int]]:
        """tokenize(), under its earlier name."""
        warnings.warn("tokenise is called tokenize now", DeprecationWarning, stacklevel=2)
        return self.tokenize(*arguments, **settings)

    def embed_tokens(
        self, batch: Sequence[TokenIds], *, prompt: str = "", progress: bool | Callable[[float], None] = False
    ) -> Array:
        """Embed texts that are already token ids.

        Args:
            batch: Each text's 1 to max_tokens token ids, as tokenize() returns them.
            prompt: The literal prefix that the texts share, so that it is computed once.
            progress: As in embed().

        Returns:
            The head's output (n, d), float32, not normalized.

        Raises:
            TextError: A text is not a list of valid token ids; names its index.
            BundleError: The backbone returned NaN or infinity.
        """
        unique: dict[tuple[int, ...], int] = {}  # identical texts are computed once
        vocab = self.bundle.manifest.backbone.vocab
        checked = (text.checked_ids(ids, i, self.max_tokens, vocab) for i, ids in enumerate(batch))
        rows = [unique.setdefault(ids, len(unique)) for ids in checked]
        different = list(unique)
        found = np.empty((len(different), self.dim), np.float32)
        shared = text.shared_tokens(self._prompt_tokens(prompt), different)
        lengths = [len(tokens) - shared for tokens in different]  # each text's own tokens
        with self._computing(), blas.one_thread(), reported(progress, sum(lengths)) as advance:
            engine = self._ready()
            for pack in packs(lengths, tokens=room(engine.batch_tokens, shared), texts=engine.batch_texts):
                pooled = engine.pool([different[i] for i in pack], self._head.queries, shared)
                found[pack] = self._head.embed(pooled)
                advance(sum(lengths[i] for i in pack))
        if not np.isfinite(found).all():
            raise BundleError(
                f"{self.bundle.folder}: the backbone returned NaN or infinity; run `c2llm-lite verify` on it"
            )
        return found[rows]

    def full_batch(self, prompt: str = "") -> tuple[int, int]:
        """How many tokens fill a batch.

        Args:
            prompt: The literal prefix of the texts.

        Returns:
            The number of the prompt's tokens, and of further tokens that fill a batch.
        """
        shared = len(self._prompt_tokens(prompt))
        return shared, room(self._ready().batch_tokens, shared)

    def info(self) -> dict[str, Any]:
        """What is loaded: source, target, dimensions, prompts, and the engine's description of itself."""
        manifest = self.bundle.manifest
        return {
            "bundle": str(self.bundle.folder),
            "sha256": self.bundle.sha256,
            "source": vars(manifest.source),
            "target": manifest.target,
            "dim": self.dim,
            "max_tokens": self.max_tokens,
            "prompts": self.prompts,
            "engine": self._ready().describe(),
        }

    def states(self, one_text: str, *, prompt: str = "") -> Iterator[Array]:
        """One text's final hidden states, in float32 chunks of (tokens, hidden), for checks and calibration.

        Args:
            one_text: The text.
            prompt: A literal prefix.

        Returns:
            An iterator over the chunks.
        """
        (ids,) = self._tokenizer.encode([one_text], prompt)
        with self._computing():
            # Compute all of them now: a caller may call embed() between two chunks.
            return iter(list(self._ready().states(ids)))

    def close(self) -> None:
        """Free the model. The Embedder cannot be used afterwards."""
        with self._turn:
            if self._engine is not None:
                self._engine.close()
                self._engine = None

    def __enter__(self) -> Embedder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the bundle's path and identity: unpickling loads it again. Raises ArgumentError once closed."""
        self._ready()
        return _load_again, (str(self.bundle.folder.resolve()), self.bundle.sha256, self._loaded_with)

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        """Holds the engine's lock."""
        forks.check()  # before waiting: in a forked child, the lock's holder may not exist
        with self._turn, forks.computing(self._threads):
            yield

    def _ready(self) -> Engine:
        if self._engine is None:
            raise ArgumentError("this Embedder is closed; load the bundle again")
        return self._engine

    def _width(self, dim: int | None) -> int:
        if dim is None or dim == self.dim:
            return self.dim
        if not self._narrow_warned:
            log.warning("dim=%d keeps the first of %d components; the model was not trained for this", dim, self.dim)
            self._narrow_warned = True
        return dim

    def _prompt_tokens(self, prompt: str) -> list[int]:
        return self._tokenizer.encode([""], prompt)[0] if prompt else []


def load(
    bundle: str | Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    max_tokens: int | None = None,
    check: bool = False,
    cache: bool = True,
    public_key: str | Path | Sequence[str | Path] | None = None,
    revoked: str | Path | None = None,
) -> Embedder:
    """Load a bundle, ready to embed.

    Args:
        bundle: The folder that `c2llm-lite convert` wrote.
        device: "auto", or a device of the bundle's engine, such as "cpu", "cuda", "mps" or "GPU".
        threads: CPU threads; None means the physical cores available to this process.
        max_tokens: Truncate longer texts to this many tokens; None means the bundle's own limit.
        check: Check every file's SHA-256 first; sizes are always checked.
        cache: Keep OpenVINO's compiled graph, and which tokenizers passed their check, in the user's cache folder.
        public_key: A public key's file, or several. One of them must have signed the bundle; every file is hashed, and
            one that the manifest does not list is an error.
        revoked: A file with the hashes of manifests, one a line, that are refused although a key signed them.

    Returns:
        The loaded bundle.

    Raises:
        BundleError: A file is missing, truncated or altered, the bundle is newer than this version, or not signed.
        OutOfMemoryError: The bundle does not fit in the free memory.
        DeviceError: The engine does not have this device.
        MissingDependencyError: The engine is not installed; names the extra to install.
        ArgumentError: An argument is out of range.
    """
    forks.check()
    opened = signature.open_bundle(bundle, check=check, public_key=public_key, revoked=revoked)
    manifest = opened.manifest
    if not isinstance(device, str):
        raise DeviceError(f"device is {device!r}; pass a device's name, or 'auto'")
    tokens = manifest.max_tokens if max_tokens is None else max_tokens
    check_whole("max_tokens", tokens, manifest.backbone.max_positions)
    if threads is not None:
        check_whole("threads", threads, machine.MOST_THREADS)
    kept = compiled(opened.sha256) if cache else None
    model = Embedder(opened, device=device, threads=threads, max_tokens=tokens, cache=kept)
    model._loaded_with |= signature.to_repeat(public_key, revoked)
    return model


def _load_again(folder: str, sha256: str, arguments: dict[str, Any]) -> Embedder:
    """Load the bundle of a pickled Embedder. Raises BundleError if the folder now contains a different bundle."""
    model = load(folder, **arguments)
    if model.bundle.sha256 != sha256:
        model.close()
        raise BundleError(f"{folder} is not the bundle that was pickled; load it and pickle it again")
    return model
