"""Runs C2LLM with PyTorch on a CPU or a GPU: fp32, bf16, or bitsandbytes' int8 or nf4.

The texts of a batch lie end to end in one row of tokens, so that nothing is padded: all layers but attention take
tokens one by one, and attention gets the bounds of the texts. The head's reduction runs in fp32 where the states are;
only its means leave the device.
"""

from __future__ import annotations

import functools
import gc
import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ... import cpu
from ...bundle import INT8, Bundle
from ...errors import ArgumentError, BundleError, DeviceError, MissingDependencyError, OutOfMemoryError
from ...openmp import TORCH, waiting_passively
from ...packing import packs
from ...pma import Array
from ...token_embeddings import TokenEmbeddings
from .. import Description, TokenIds, require_memory

try:
    with waiting_passively(TORCH):
        import torch

    from .attention import pool
    from .backbone import DTYPES, load_backbone
    from .embeddings import Lookup, lookup
    from .qwen2 import Qwen2
    from .texts import Texts
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise MissingDependencyError(error.name, "torch", "this bundle") from error

log = logging.getLogger(__name__)

# Of a pass. On a CPU fp32 ran 1.2 times as fast in passes of 4,096 as of 1,024, bf16 as fast
# (benchmarks/results/torch_batching.json). The GPU's was chosen, not measured.
CPU_BATCH_TOKENS = 4096
GPU_BATCH_TOKENS = 16384
BATCH_TEXTS = 256


def open_engine(
    bundle: Bundle, *, device: str, threads: int, max_tokens: int, cache: Path | None = None
) -> TorchEngine:
    """Load the backbone onto `device`: "auto", "cpu", "cuda", "cuda:N" or "mps".

    `threads` is set for the whole process, which is all that PyTorch offers; nothing is set aside for `max_tokens`,
    nor put into `cache`.

    Raises MissingDependencyError, DeviceError, BundleError or OutOfMemoryError.
    """
    matrices = bundle.manifest.matrix_type()
    if matrices not in DTYPES:
        raise BundleError(f"{bundle.folder}: this version does not run {bundle.manifest.target}; upgrade c2llm-lite")
    place, states = _device(device), DTYPES[matrices]
    if place.type != "cuda":  # the others' weights lie in the host's memory
        require_memory(bundle)
        _warn_of_slow_bf16(states, place)
    torch.set_num_threads(threads)
    try:
        model = load_backbone(bundle, place)
        rows = lookup(TokenEmbeddings(bundle), place, states)
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(
            f"{bundle.folder} does not fit in the free memory of {place}; close other programs that use it, load it "
            "with device='cpu', or convert the checkpoint to a smaller target"
        ) from error
    return TorchEngine(model, rows, place, matrices, threads)


class TorchEngine:
    """A loaded backbone; see Engine."""

    def __init__(self, model: Qwen2, rows: Lookup, device: torch.device, matrices: str, threads: int) -> None:
        self.batch_tokens = CPU_BATCH_TOKENS if device.type == "cpu" else GPU_BATCH_TOKENS
        self.batch_texts = BATCH_TEXTS
        self._matrices = matrices  # their type
        self._rows: Lookup | None = rows
        self._model: Qwen2 | None = model
        self._device = device
        self._threads = threads
        self._warned = False

    def pool(self, batch: Sequence[TokenIds], queries: Array, shared: int = 0) -> Array:
        """See Engine.pool. Where the device runs out of memory, the batch is halved, now and for later calls.

        What is shared is computed with every text: this engine is the reference, and a GPU hardly feels a short prefix.

        Raises OutOfMemoryError if a single text does not fit.
        """
        found = np.empty((len(batch), *queries.shape), np.float32)
        on_device = torch.from_numpy(queries).to(self._device)
        waiting = self._cut(batch, range(len(batch)))
        while waiting:
            pack = waiting.pop(0)
            pooled = self._pool([batch[i] for i in pack], on_device)
            if pooled is not None:
                found[pack] = pooled
                continue
            tokens = sum(len(batch[i]) for i in pack)
            if len(pack) == 1:
                raise OutOfMemoryError(
                    f"a text of {tokens} tokens does not fit in the free memory of {self._device}; close other "
                    "programs that use it, load the bundle with a smaller max_tokens, or with device='cpu'"
                )
            self._halve(tokens)
            waiting = self._cut(batch, [*pack, *itertools.chain.from_iterable(waiting)])
        return found

    def states(self, ids: TokenIds) -> Iterator[Array]:
        """See Engine.states; one chunk."""
        with torch.inference_mode():
            yield self._forward([ids], Texts([len(ids)], self._device)).cpu().numpy()

    def describe(self) -> Description:
        """See Engine."""
        name = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else str(self._device)
        activations = str(DTYPES[self._matrices]).removeprefix("torch.")
        return {
            "name": "PyTorch",
            "libraries": f"torch {torch.__version__}",
            "device": name,
            "threads": self._threads,
            "batch_tokens": self.batch_tokens,
            "activations": "int8, one scale a token" if self._matrices == INT8 else activations,
            "instructions": torch.backends.cpu.get_cpu_capability() if self._device.type == "cpu" else None,
            "compiled_graph": None,
            "compiled_graph_bytes": None,
        }

    def close(self) -> None:
        """See Engine."""
        self._model = self._rows = None
        _empty_cache(self._device)

    def _cut(self, batch: Sequence[TokenIds], indices: Sequence[int]) -> list[list[int]]:
        """The texts of `batch` at `indices`, in packs of what the device is known to hold."""
        cuts = packs([len(batch[i]) for i in indices], tokens=self.batch_tokens, texts=self.batch_texts)
        return [[indices[i] for i in cut] for cut in cuts]

    def _pool(self, batch: Sequence[TokenIds], queries: torch.Tensor) -> Array | None:
        """(texts, heads, hidden), or None if the device ran out of memory."""
        try:
            with torch.inference_mode():
                texts = Texts([len(ids) for ids in batch], self._device)
                pooled: Array = pool(self._forward(batch, texts), queries, texts).cpu().numpy()
                return pooled
        except RuntimeError as error:
            # CUDA raises torch.OutOfMemoryError; MPS a plain RuntimeError that says so.
            if not isinstance(error, torch.OutOfMemoryError) and "out of memory" not in str(error):
                raise
            return None

    def _forward(self, batch: Sequence[TokenIds], texts: Texts) -> torch.Tensor:
        """Final hidden states (tokens, hidden) in fp32 on the device, text after text."""
        if self._model is None or self._rows is None:
            raise ArgumentError("this engine is closed")
        rows = self._rows(list(itertools.chain.from_iterable(batch)))  # (tokens, hidden)
        states: torch.Tensor = self._model(rows, texts)
        return states.float()

    def _halve(self, tokens: int) -> None:
        """A batch of `tokens` did not fit: take half from now on."""
        self.batch_tokens = max(1, tokens // 2)
        _empty_cache(self._device)
        if not self._warned:
            log.warning("%s ran out of memory on %d tokens: further batches will be smaller", self._device, tokens)
            self._warned = True


@functools.cache
def _warn_of_slow_bf16(states: torch.dtype, place: torch.device) -> None:
    """Log, once, that PyTorch emulates bf16 products on this CPU."""
    if states == torch.bfloat16 and place.type == "cpu" and cpu.lacks_all(cpu.BF16):
        log.warning(
            "this CPU has no instructions for bf16, so this bundle runs about 10 times slower than torch:fp32 here; "
            "convert the checkpoint to torch:fp32, or to a gguf or openvino target"
        )


def _device(name: str) -> torch.device:
    """Raises DeviceError, saying what to do, for a device that is not here."""
    kind, _, index = name.partition(":")
    if kind == "auto" and not index:
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if kind not in ("cpu", "cuda", "mps") or (index and (kind != "cuda" or not index.isdecimal())):
        raise DeviceError(f"device is {name!r}; this bundle's engine supports auto, cpu, cuda, cuda:N and mps")
    if kind == "cuda" and not torch.cuda.is_available():
        reason = (
            "no GPU is visible to it (see nvidia-smi and CUDA_VISIBLE_DEVICES)"
            if torch.version.cuda or torch.version.hip
            else "it was built without CUDA: install a CUDA build from pytorch.org"
        )
        raise DeviceError(f"torch {torch.__version__} has no {name!r}: {reason}; or use device='cpu'")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise DeviceError(
            f"there is no {name!r}; this machine has {torch.cuda.device_count()} CUDA devices, numbered from 0"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"torch {torch.__version__} has no {name!r} on this machine; use device='cpu'")
    return torch.device(f"{kind}:{index}" if index else kind)


def _empty_cache(device: torch.device) -> None:
    """Give freed memory back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
