"""Texts in, vectors out: the one place that knows the whole way from a string to an embedding."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import blas, forks, machine, text, vectors
from . import bundle as bundles
from .arguments import check_whole
from .cache import cache_folder
from .engines import Engine, TokenIds, open_engine
from .errors import ArgumentError, BundleError, DeviceError, TextError
from .head_file import read_head
from .packing import packs, room
from .pma import Array
from .progress import Advance, bar
from .vectors import Precision

log = logging.getLogger(__name__)

# ggml aborts beyond 512, and OpenMP where the system has no room for so many: eight a CPU never help.
MOST_THREADS = min(512, 8 * (os.cpu_count() or 1))


class Embedder:
    """A loaded bundle. Made by `load`; a context manager; safe from several threads, which take turns at the engine."""

    def __init__(
        self, bundle: bundles.Bundle, *, device: str, threads: int | None, max_tokens: int, cache: Path | None = None
    ) -> None:
        manifest = bundle.manifest
        self._loaded_with = {"device": device, "threads": threads, "max_tokens": max_tokens, "cache": cache is not None}
        self._threads = threads or machine.cores()
        self.bundle = bundle
        self.dim = manifest.width
        self.max_tokens = max_tokens
        self.prompts = dict(manifest.prompts)
        self._head = read_head(bundle)
        self._tokeniser = text.Tokeniser(bundle.path(bundles.TOKENIZER), max_tokens, remember=cache is not None)
        self._turn = threading.Lock()
        self._narrow_warned = False
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
        """The texts' embeddings, in the texts' order: (d,) for one string, (n, d) for a sequence of n.

        prompt_name: "query", "document", or a task's, such as "CosQA-query"; prompt: a literal prefix; neither: the
        bare text. dim: only the first components, renormalised; the model was not trained for it. normalize: unit
        length, so that a dot product is the cosine. precision: "float32"; "int8" (n, d), round(127 x / max|x|) per
        vector; "binary" (n, ceil(d / 8)) uint8, sign bits packed big-endian. progress: True prints rate and time left;
        a function is called after each pass with the share of the work that is done, up to 1.

        Raises TextError, naming the index, for a text that is empty (without a prompt), not a string or not valid
        Unicode; ValueError for an argument out of range.
        """
        vectors.check(dim, precision, self.dim)
        width = self._width(dim)
        prefix = text.choose_prompt(self.prompts, prompt_name, prompt)
        single = isinstance(texts, str)
        listed = _as_list(texts)
        ids = self._tokeniser.encode(listed, prefix) if listed else []
        found = self.embed_tokens(ids, prompt=prefix, progress=progress)[:, :width]
        if normalize:
            found = vectors.normalise(found)
        encoded = vectors.encode(found, precision)
        return encoded[0] if single else encoded

    def tokenise(
        self, texts: Sequence[str], *, prompt: str = "", first_index: int = 0, cut: bool = True
    ) -> list[list[int]]:
        """The token ids that embed() runs for each text, the prompt's with them; for embed_tokens().

        Raises TextError as embed() does, counting texts from `first_index`; and, where `cut` is False, for a text of
        more than max_tokens, which is cut otherwise.
        """
        return self._tokeniser.encode(texts, prompt, first_index=first_index, cut=cut)

    def embed_tokens(
        self, batch: Sequence[TokenIds], *, prompt: str = "", progress: bool | Callable[[float], None] = False
    ) -> Array:
        """What the head gives for texts that are token ids already: (n, d) float32, not normalised.

        batch: as tokenise() gives them, of 1 to max_tokens ids each. prompt: what they begin with, so that it is
        computed once. progress: as embed() takes it. Raises TextError, naming the index, for anything else.
        """
        # Identical texts are computed once.
        unique: dict[tuple[int, ...], int] = {}
        vocab = self.bundle.manifest.backbone.vocab
        checked = (text.checked_ids(ids, i, self.max_tokens, vocab) for i, ids in enumerate(batch))
        rows = [unique.setdefault(ids, len(unique)) for ids in checked]
        different = list(unique)
        found = np.empty((len(different), self.dim), np.float32)
        shared = text.shared_tokens(self._prompt_tokens(prompt), different)
        lengths = [len(tokens) - shared for tokens in different]  # what each text adds
        with self._computing(), blas.one_thread(), _shown(progress, sum(lengths)) as advance:
            engine = self._ready()
            for pack in packs(lengths, tokens=room(engine.batch_tokens, shared), texts=engine.batch_texts):
                pooled = engine.pool([different[i] for i in pack], self._head.queries, shared)
                found[pack] = self._head.embed(pooled)
                advance(sum(lengths[i] for i in pack))
        if not np.isfinite(found).all():
            raise BundleError(f"{self.bundle.folder}: the backbone gave NaN or infinity: run `c2llm-lite verify` on it")
        return found[rows]

    def full_batch(self, prompt: str = "") -> tuple[int, int]:
        """The prompt's own tokens, and how many tokens beside them fill a batch."""
        shared = len(self._prompt_tokens(prompt))
        return shared, room(self._ready().batch_tokens, shared)

    def info(self) -> dict[str, Any]:
        """What is loaded: source, target, widths, prompts, memory, versions, and the engine's own account."""
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
        """One text's final hidden states in chunks (tokens, hidden), float32: for checks and calibration."""
        (ids,) = self._tokeniser.encode([one_text], prompt)
        with self._computing():
            # All of them now: whoever takes them one by one may call embed() in between.
            return iter(list(self._ready().states(ids)))

    def close(self) -> None:
        """Free the model; the Embedder cannot be used again."""
        with self._turn:
            if self._engine is not None:
                self._engine.close()
                self._engine = None

    def __enter__(self) -> Embedder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as the way to its bundle: unpickling loads it again. Raises ValueError once it is closed."""
        self._ready()
        return _load_again, (str(self.bundle.folder.resolve()), self.bundle.sha256, self._loaded_with)

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        """A turn at the engine."""
        forks.check()  # before waiting: in a fork, the lock's holder may not exist
        with self._turn, forks.computing(self._threads):
            yield

    def _ready(self) -> Engine:
        if self._engine is None:
            raise ArgumentError("this Embedder was closed: load the bundle again")
        return self._engine

    def _width(self, dim: int | None) -> int:
        if dim is None or dim == self.dim:
            return self.dim
        if not self._narrow_warned:
            log.warning("dim=%d keeps the first of %d components; the model was not trained for this", dim, self.dim)
            self._narrow_warned = True
        return dim

    def _prompt_tokens(self, prompt: str) -> list[int]:
        (ids,) = self._tokeniser.encode([""], prompt) if prompt else ([],)
        return ids


def load(
    bundle: str | Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    max_tokens: int | None = None,
    check: bool = False,
    cache: bool = True,
) -> Embedder:
    """Load a bundle, ready to embed.

    device: "auto", or one that the bundle's engine has. threads: None takes the physical cores that this process is
    granted. max_tokens: where a longer text is cut; None takes the bundle's own. check: hash every file first. cache:
    keep what the engine compiles (OpenVINO's graph), and which tokenizers passed their check, in the user's cache
    folder, and take it from there.

    Raises BundleError (missing, cut, altered, newer), OutOfMemoryError (would not fit), DeviceError,
    MissingDependencyError (naming the extra to install), ValueError (an argument out of range).
    """
    forks.check()
    opened = bundles.open_bundle(bundle, check=check)
    manifest = opened.manifest
    if not isinstance(device, str):
        raise DeviceError(f"device is {device!r}: give a device's name, or 'auto'")
    tokens = manifest.max_tokens if max_tokens is None else max_tokens
    check_whole("max_tokens", tokens, manifest.backbone.max_positions)
    if threads is not None:
        check_whole("threads", threads, MOST_THREADS)
    kept = cache_folder() / "compiled" / opened.sha256[:16] if cache else None
    return Embedder(opened, device=device, threads=threads, max_tokens=tokens, cache=kept)


def _load_again(folder: str, sha256: str, arguments: dict[str, Any]) -> Embedder:
    """Raises BundleError where the folder now holds another bundle."""
    model = load(folder, **arguments)
    if model.bundle.sha256 != sha256:
        model.close()
        raise BundleError(f"{folder} is another bundle than the one that was pickled: load it and pickle it again")
    return model


def _shown(progress: bool | Callable[[float], None], total: int) -> contextlib.AbstractContextManager[Advance]:
    if not callable(progress):
        return bar("embedding", total, "tokens", show=progress)
    done = 0

    def advance(tokens: int) -> None:
        nonlocal done
        done += tokens
        progress(done / total)

    return contextlib.nullcontext(advance)


def _as_list(texts: str | Iterable[str]) -> list[str]:
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, bytes | Mapping) or not isinstance(texts, Iterable) or getattr(texts, "ndim", 1) == 0:
        raise TextError(f"texts is a {type(texts).__name__}: give a string, or a sequence of strings")
    return list(texts)
