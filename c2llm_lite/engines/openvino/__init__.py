"""Runs an OpenVINO graph on texts laid end to end, without padding.

At load the graph goes through OpenVINO's paged-attention transformation (the one its own text generation server uses):
tokens then come flat, keys and values lie in blocks of a cache that belongs to us, and each text sees its own blocks
alone. So texts of any mix of lengths share a pass, a long text goes through in pieces, and the cache never holds more
than one batch.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle import OPENVINO_GRAPH, OPENVINO_WEIGHTS, Bundle
from ...errors import ArgumentError, BundleError, DeviceError, MissingDependencyError
from ...pma import Array, PooledSum, pool_parts
from ...token_embeddings import TokenEmbeddings
from .. import Description, TokenIds, require_memory
from ..prefix import Prefix
from . import graph_cache
from .check import check_graph
from .layout import Part, blocks_of, ends, passes
from .settings import activation_bits, settings, warn_of_saturation

PASS_TOKENS = 512  # of one forward pass
NO_ATTENTION = "AttentionExecutor creation fails"  # in OpenVINO's error, where it has no kernel for the CPU


def open_engine(bundle: Bundle, *, device: str, threads: int, max_tokens: int, cache: Path | None = None) -> OpenVino:
    """Compile the bundle's graph for `device`: "auto" and "cpu" are the CPU, or a device by OpenVINO's name.

    cache: a folder where the compiled graph is kept, and taken from the next time, if this OpenVINO can read it back.

    Raises MissingDependencyError; DeviceError, naming what is there, for a device that is not, or that cannot run the
    graph; BundleError if the file is not a graph of the manifest's shape.
    """
    try:
        openvino = import_module("openvino")
        transformations = import_module("openvino._offline_transformations")
    except ImportError as error:
        raise MissingDependencyError("openvino", "openvino", "an openvino bundle") from error
    core = process_core()
    name = _device(core, device)
    if name == "CPU" or core.get_property(name, "DEVICE_TYPE") != openvino.properties.device.Type.DISCRETE:
        require_memory(bundle)
    path = bundle.path(OPENVINO_GRAPH)
    chosen = settings(bundle.manifest, name, threads)

    if name == "CPU":
        warn_of_saturation(path)

    def compile_graph() -> Any:
        check_graph(path, bundle.manifest.backbone)
        try:
            graph = core.read_model(path)
            transformations.paged_attention_transformation(graph)
        except RuntimeError as error:
            raise BundleError(
                f"OpenVINO cannot read {path}: {error}; copy the bundle again, or convert again"
            ) from error
        try:
            return core.compile_model(graph, name, chosen)
        except RuntimeError as error:
            if NO_ATTENTION in str(error):
                raise DeviceError(
                    "OpenVINO's paged attention does not run on this CPU: on ARM it needs SVE, which Raspberry Pi, "
                    "Jetson and Apple silicon lack; convert the checkpoint to gguf:q8_0 for this machine"
                ) from error
            raise DeviceError(f"OpenVINO cannot run this bundle on {name}: {error}; pass device='cpu'") from error

    if cache is None or not graph_cache.can_be_read_back(openvino.__version__, name):
        return OpenVino(bundle, openvino, compile_graph(), device=name, threads=threads)
    kept = graph_cache.place(cache, openvino.__version__, core, name, chosen)

    def compile_checked() -> Any:
        for file in (OPENVINO_GRAPH, OPENVINO_WEIGHTS):
            bundle.check(file)
        return compile_graph()

    compiled, blob = graph_cache.compiled(kept, core, name, chosen, compile_checked)
    return OpenVino(bundle, openvino, compiled, device=name, threads=threads, kept=kept, blob=blob)


@functools.cache
def process_core() -> Any:
    """OpenVINO's Core, one for the process, never released.

    On x86 each Core's CPU plugin gives signals a stack of its own, and puts the former one back when it is released.
    Of two, released in the order they were made, the second puts back the first's, which is gone: the next Ctrl-C or
    SIGTERM would be a segmentation fault.
    """
    return import_module("openvino").Core()


class OpenVino:
    """A compiled graph, and the cache of keys and values of one batch."""

    batch_tokens = PASS_TOKENS
    batch_texts = PASS_TOKENS

    def __init__(
        self,
        bundle: Bundle,
        openvino: Any,
        compiled: Any,
        *,
        device: str,
        threads: int,
        kept: Path | None = None,
        blob: NDArray[np.uint8] | None = None,
    ) -> None:
        backbone = bundle.manifest.backbone
        self._openvino = openvino
        self._device = device
        self._threads = threads
        self._kept = kept  # the compiled graph's file
        self._activations = activation_bits(bundle.manifest, device)
        self._hidden = backbone.hidden
        self._embeddings = TokenEmbeddings(bundle)
        # Each input by its name: key_cache.N and value_cache.N, (blocks, kv_heads, block size, head_dim) on a CPU.
        inputs = {port.get_any_name(): port for port in compiled.inputs}
        self._caches = {name: port for name, port in inputs.items() if "_cache." in name}
        wanted = {f"{kind}_cache.{layer}" for kind in ("key", "value") for layer in range(backbone.layers)}
        width = compiled.outputs[0].get_partial_shape()[-1].get_length()
        if set(self._caches) != wanted or width != backbone.hidden:
            raise BundleError(
                f"{bundle.path(OPENVINO_GRAPH)} is not the manifest's backbone; copy the bundle again, or convert again"
            )
        self._block = _block_size(self._caches["value_cache.0"])
        self._blocks = 0
        self._prefix: Prefix | None = None
        self._request: Any = compiled.create_infer_request()
        self._blob = blob  # its weights lie there

    def pool(self, batch: Sequence[TokenIds], queries: Array, shared: int = 0) -> Array:
        """See Engine. Texts are taken in order, cut wherever a pass is full."""
        texts = [ids[shared:] for ids in batch]
        layout = blocks_of([len(ids) for ids in texts], shared, self._block)
        self._reserve(layout[-1][-1] + 1)
        prefix = self._shared(tuple(batch[0][:shared]), queries)
        return pool_parts(self._run(texts, shared, layout), len(batch), queries, prefix)

    def states(self, ids: TokenIds) -> Iterator[Array]:
        """See Engine."""
        layout = blocks_of([len(ids)], 0, self._block)
        self._reserve(layout[-1][-1] + 1)
        self._prefix = None
        for _, states in self._run([ids], 0, layout):
            yield states.copy()

    def describe(self) -> Description:
        """See Engine."""
        kept = self._kept if self._kept is not None and self._kept.exists() else None
        return {
            "name": "OpenVINO",
            "libraries": f"openvino {self._openvino.get_version()}",
            "device": self._device,
            "threads": self._threads,
            "batch_tokens": self.batch_tokens,
            "activations": self._activations,
            "instructions": None,
            "compiled_graph": None if kept is None else str(kept),
            "compiled_graph_bytes": None if kept is None else kept.stat().st_size,
        }

    def close(self) -> None:
        """See Engine."""
        self._request = None
        self._blob = None

    def _shared(self, ids: tuple[int, ...], queries: Array) -> PooledSum | None:
        """Keys and values of the tokens that the next texts start with, in the cache's first blocks, and their sum."""
        if self._prefix is None or not self._prefix.serves(ids, queries):
            self._prefix = None
            if not ids:
                return None
            self._prefix = Prefix.of(ids, queries, self._run([ids], 0, blocks_of([len(ids)], 0, self._block)))
        return self._prefix.total

    def _run(
        self, texts: Sequence[TokenIds], past: int, layout: Sequence[Sequence[int]]
    ) -> Iterator[tuple[int, Array]]:
        """Each text's index with its next states, (tokens, hidden): a view that the following pass overwrites.

        past: how many shared tokens go before each text. layout: each text's blocks of the cache.
        """
        if past % self._block:
            # The prefix's last block is partly full: each text continues in a copy of it.
            self._copy_block(past // self._block, [blocks[past // self._block] for blocks in layout])
        for parts in passes([len(ids) for ids in texts], PASS_TOKENS, past):
            states = self._infer(texts, past, parts, [layout[part.text] for part in parts])
            start = 0
            for part in parts:
                yield part.text, states[start : start + part.tokens]
                start += part.tokens

    def _infer(
        self, texts: Sequence[TokenIds], shared: int, parts: Sequence[Part], blocks: Sequence[Sequence[int]]
    ) -> Array:
        """One pass over some texts' next tokens, `shared` of which the cache holds already; (tokens, hidden)."""
        begins = [part.past - shared for part in parts]
        ids = [
            token
            for part, begin in zip(parts, begins, strict=True)
            for token in texts[part.text][begin : begin + part.tokens]
        ]
        positions = [np.arange(part.past, part.past + part.tokens) for part in parts]
        used = [own[: -(-(part.past + part.tokens) // self._block)] for part, own in zip(parts, blocks, strict=True)]
        inputs = {
            "inputs_embeds": self._embeddings.rows(ids),
            "position_ids": np.concatenate(positions).astype(np.int64),
            "past_lens": np.array([part.past for part in parts], np.int32),
            "subsequence_begins": ends(part.tokens for part in parts),
            "block_indices": np.concatenate(used).astype(np.int32),
            "block_indices_begins": ends(map(len, used)),
            "max_context_len": np.array(max(part.past + part.tokens for part in parts), np.int32),
        }
        request = self._ready()
        for name, values in inputs.items():
            request.set_tensor(name, self._openvino.Tensor(values))
        try:
            request.infer()
        except RuntimeError as error:  # ONEDNN_MAX_CPU_ISA leaves some products without a kernel, for one
            raise DeviceError(
                f"OpenVINO failed on {self._device}: {error}; unset ONEDNN_MAX_CPU_ISA if it is set, and check this "
                "machine with `c2llm-lite doctor BUNDLE`"
            ) from error
        states: Array = request.get_output_tensor(0).data.reshape(len(ids), self._hidden)
        return states

    def _reserve(self, blocks: int) -> None:
        """Give the cache at least `blocks`. It doubles, so that growing texts rarely recreate it."""
        if blocks <= self._blocks:
            return
        self._blocks = max(blocks, 2 * self._blocks)
        self._prefix = None
        request = self._ready()
        for name, port in self._caches.items():
            shape = [self._blocks, *(side.get_length() for side in list(port.get_partial_shape())[1:])]
            cache = self._openvino.Tensor(port.get_element_type(), self._openvino.Shape(shape))
            # What is masked is multiplied by zero, and zero times NaN, which fresh memory may hold, is NaN.
            cache.data[...] = 0
            request.set_tensor(name, cache)

    def _copy_block(self, source: int, targets: Sequence[int]) -> None:
        request = self._ready()
        for name in self._caches:
            cache = request.get_tensor(name).data  # (blocks, kv_heads, block size, head_dim)
            cache[targets] = cache[source]

    def _ready(self) -> Any:
        if self._request is None:
            raise ArgumentError("this engine is closed")
        return self._request


def _block_size(value_cache: Any) -> int:
    """Tokens in a block; values lie as (blocks, kv_heads, block size, head_dim) on a CPU and on a GPU."""
    size: int = value_cache.get_partial_shape()[2].get_length()
    return size


def _device(core: Any, asked: str) -> str:
    """OpenVINO's name of a device: CPU, GPU, NPU, or one of several, GPU.1."""
    name = "CPU" if asked == "auto" else asked.upper()
    there: list[str] = core.available_devices
    if not any(name in (device, device.partition(".")[0]) for device in there):
        names = ", ".join(repr(device.lower()) for device in there)
        raise DeviceError(f"device is {asked!r}, but OpenVINO finds {names} here; pass one of these, or 'auto'")
    return name
