"""Engines run a bundle's backbone and pool its states in place. One folder per engine, all with the same contract."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, TypedDict, cast

from .. import machine
from ..bundle import Bundle
from ..errors import BundleError, OutOfMemoryError
from ..pma import Array

TokenIds = Sequence[int]
ENGINES = ("llama_cpp", "openvino", "torch")


class Description(TypedDict):
    """The description of an engine in `info` and results files; None if it does not apply."""

    name: str
    libraries: str  # with their versions
    device: str
    threads: int
    batch_tokens: int
    activations: str  # the type in which they enter products
    instructions: str | None  # that the library uses of this CPU's
    compiled_graph: str | None  # the file
    compiled_graph_bytes: int | None


class Engine(Protocol):
    """Runs a backbone. Not thread-safe: the Embedder serializes calls.

    batch_tokens: the tokens in one call of `pool`, besides those that its texts share. batch_texts: the texts.
    """

    batch_tokens: int
    batch_texts: int

    def pool(self, batch: Sequence[TokenIds], queries: Array, shared: int = 0) -> Array:
        """For each text and head, the softmax-weighted mean of the text's final hidden states.

        batch: texts of at least one token id each: one text of any length up to the bundle's maximum, or several that
        fit together in batch_tokens and batch_texts. queries: (heads, hidden),
        the head's absorbed queries. shared: how many leading tokens all these texts have in common, fewer than any
        text has; attention is causal, so an engine may compute them once, now or for the next batch too. Returns
        (len(batch), heads, hidden), float32.
        """

    def states(self, ids: TokenIds) -> Iterator[Array]:
        """One text's final hidden states (after the final norm), in chunks (tokens, hidden), float32."""

    def describe(self) -> Description:
        """What determines speed: library versions, device, threads."""

    def close(self) -> None:
        """Free the model. The engine cannot be used afterwards."""


class EngineModule(Protocol):
    """The interface of an engine's module."""

    def open_engine(
        self, bundle: Bundle, *, device: str, threads: int, max_tokens: int, cache: Path | None = None
    ) -> Engine:
        """Raises MissingDependencyError, DeviceError, BundleError or OutOfMemoryError."""


def require_memory(bundle: Bundle) -> None:
    """Raises OutOfMemoryError if the host's free memory is less than the bundle needs on the host."""
    free, needed = machine.free_memory(), bundle.manifest.memory
    if free is not None and free < needed:
        raise OutOfMemoryError(
            f"{bundle.folder} needs about {needed >> 20} MiB, but only {free >> 20} MiB are free; "
            "free some memory, or convert the checkpoint to a smaller target"
        )


def open_engine(bundle: Bundle, *, device: str, threads: int, max_tokens: int, cache: Path | None = None) -> Engine:
    """Open the engine that `bundle` was made for; its library is imported here and not before.

    cache: a folder of this bundle's own, where the engine may keep what it compiles; None keeps nothing.
    """
    name = bundle.manifest.engine
    if name not in ENGINES:
        raise BundleError(f"{bundle.folder}: this version does not have the engine {name!r}; upgrade c2llm-lite")
    module = cast(EngineModule, import_module(f"{__name__}.{name}"))
    return module.open_engine(bundle, device=device, threads=threads, max_tokens=max_tokens, cache=cache)
