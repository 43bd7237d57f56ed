"""Runs a headless GGUF backbone with llama.cpp's low-level API, on NumPy arrays.

llama-cpp-python's `Llama.embed` converts every state to a Python list and needs the model's own vocabulary. Here NumPy
owns the batch's arrays, rows of token_embeddings.npy replace token ids, and states are pooled in llama.cpp's memory.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...bundle import F32, GGUF, MATRIX, Bundle
from ...errors import ArgumentError, BundleError, DeviceError, OutOfMemoryError
from ...pma import Array, PooledSum, pool_parts
from ...token_embeddings import TokenEmbeddings
from .. import Description, TokenIds, require_memory
from ..prefix import Prefix
from .buffers import choose_buffers, repacked_types
from .check import check_file
from .log import log_lines
from .native import library
from .padding import stored_shape
from .tensor_names import tensor_names

# Tokens of one forward pass. Larger ones are slower: attention is over the square of the pack.
PACK_TOKENS = 512
CONTEXT_STEP = 256  # llama.cpp rounds a context's cells up to it
OUT_OF_MEMORY = -2  # of llama_decode
PREFIX = 0  # the sequence of the tokens that texts share; texts have 1 and up


def open_engine(bundle: Bundle, *, device: str, threads: int, max_tokens: int, cache: Path | None = None) -> LlamaCpp:
    """Load the bundle's backbone. Nothing is compiled or cached.

    Raises MissingDependencyError, DeviceError for anything but "auto" and "cpu", BundleError if the file is not the
    manifest's backbone, OutOfMemoryError.
    """
    if device not in ("auto", "cpu"):
        raise DeviceError(f"device is {device!r}, but a gguf bundle runs on the CPU; pass 'auto' or 'cpu'")
    require_memory(bundle)
    return LlamaCpp(bundle, library("llama_cpp", "a gguf bundle"), threads, max_tokens)


class LlamaCpp:
    """A loaded backbone. The context (keys, values, buffers) is created on first use, and again for longer texts."""

    batch_tokens = PACK_TOKENS

    def __init__(self, bundle: Bundle, llama: Any, threads: int, max_tokens: int) -> None:
        self._llama = llama
        self._log = log_lines(llama)
        self._threads = threads
        self._max_tokens = max_tokens
        self._backbone = bundle.manifest.backbone
        # ggml's flash attention and a half-precision cache err by 4e-4 of the states' scale, a full-precision backbone
        # without them by 1e-6.
        self._exact_attention = bundle.manifest.matrix_type() == F32
        self.batch_texts: int = llama.llama_max_parallel_sequences() - 1  # the first is PREFIX
        self._embeddings = TokenEmbeddings(bundle)
        self._batch = _Batch(llama, stored_shape(self._backbone, bundle.manifest.tensors.values()).hidden)
        self._context: Any = None
        self._cells = 0
        self._prefix: Prefix | None = None
        self._used = 0  # sequences up to this one may hold tokens
        self._model = self._load(bundle)

    def pool(self, batch: Sequence[TokenIds], queries: Array, shared: int = 0) -> Array:
        """See Engine."""
        texts = [ids[shared:] for ids in batch]
        self._make_room(shared + sum(map(len, texts)))
        prefix = self._shared(tuple(batch[0][:shared]), queries)
        return pool_parts(self._run(texts, past=shared, first=PREFIX + 1), len(batch), queries, prefix)

    def states(self, ids: TokenIds) -> Iterator[Array]:
        """See Engine. Take all chunks before the next call: they share the context."""
        self._make_room(len(ids))
        self._forget()
        for _, states in self._run([ids], past=0, first=PREFIX + 1):
            yield states.copy()

    def describe(self) -> Description:
        """See Engine."""
        return {
            "name": "llama.cpp",
            "libraries": f"llama-cpp-python {version('llama-cpp-python')}",
            "device": "cpu",
            "threads": self._threads,
            "batch_tokens": self.batch_tokens,
            "activations": "as ggml's kernels for the matrices take them",
            "instructions": self._llama.llama_print_system_info().decode().strip(),
            "compiled_graph": None,
            "compiled_graph_bytes": None,
        }

    def close(self) -> None:
        """See Engine."""
        self._free_context()
        if self._model is not None:
            self._llama.llama_model_free(self._model)
            self._model = None

    def _shared(self, ids: tuple[int, ...], queries: Array) -> PooledSum | None:
        """Keys and values of the tokens that the next texts start with, in their own sequence, and their sum."""
        if self._prefix is None or not self._prefix.serves(ids, queries):
            self._forget()
            if not ids:
                return None
            self._prefix = Prefix.of(ids, queries, self._run([ids], past=0, first=PREFIX))
        return self._prefix.total

    def _forget(self) -> None:
        self._llama.llama_memory_clear(self._llama.llama_get_memory(self._context), False)
        self._prefix = None

    def _run(self, texts: Sequence[TokenIds], *, past: int, first: int) -> Iterator[tuple[int, Array]]:
        """One pass over texts that share the cache: each text's index with its next states, (tokens, hidden).

        past: how many tokens of PREFIX go before each text. first: the sequence of the first text, which the others'
        follow. The states are a view that the following step overwrites.
        """
        lengths = [len(ids) for ids in texts]
        tokens = [token for ids in texts for token in ids]
        owners = np.repeat(np.arange(len(texts)), lengths)
        positions = np.concatenate([np.arange(past, past + length) for length in lengths])
        context = self._context
        memory = self._llama.llama_get_memory(context)
        for sequence in range(PREFIX + 1, self._used):
            self._llama.llama_memory_seq_rm(memory, sequence, -1, -1)
        self._used = first + len(texts)
        if past:
            for sequence in range(first, self._used):
                self._llama.llama_memory_seq_cp(memory, PREFIX, sequence, -1, -1)  # shares the cells, copies nothing
        for start in range(0, len(tokens), PACK_TOKENS):
            chunk = slice(start, start + PACK_TOKENS)
            rows = self._embeddings.rows(tokens[chunk])
            states = self._decode(context, rows, positions[chunk], first + owners[chunk])  # (tokens, hidden)
            cuts = np.flatnonzero(np.diff(owners[chunk])) + 1
            for part, owner in zip(np.split(states, cuts), owners[chunk][np.r_[0, cuts]], strict=True):
                yield int(owner), part

    def _decode(self, context: Any, rows: Array, positions: Any, owners: Any) -> Array:
        status = self._llama.llama_decode(context, self._batch.fill(rows, positions, owners))
        if status == OUT_OF_MEMORY:
            raise OutOfMemoryError(f"llama.cpp ran out of memory on {len(rows)} tokens: {self._log.errors()}")
        if status != 0:
            raise RuntimeError(f"llama.cpp could not run {len(rows)} tokens (status {status}): {self._log.errors()}")
        found = self._llama.llama_get_embeddings(context)
        states: Array = np.ctypeslib.as_array(found, (len(rows), self._batch.hidden))
        return states[:, : self._backbone.hidden]

    def _make_room(self, tokens: int) -> None:
        """Have a context of at least `tokens` cells. It doubles, so that growing texts rarely recreate it."""
        if self._model is None:
            raise ArgumentError("this engine is closed")
        if self._context is None or tokens > self._cells:
            wanted = max(tokens, min(2 * self._cells, self._max_tokens), PACK_TOKENS)
            self._free_context()
            self._cells = -(-wanted // CONTEXT_STEP) * CONTEXT_STEP
            self._context = self._new_context(self._cells)

    def _new_context(self, cells: int) -> Any:
        llama = self._llama
        params = llama.llama_context_default_params()
        params.n_ctx = cells
        params.n_batch = params.n_ubatch = PACK_TOKENS
        params.n_seq_max = 1 + self.batch_texts
        params.n_threads = params.n_threads_batch = self._threads
        params.pooling_type = llama.LLAMA_POOLING_TYPE_NONE
        if self._exact_attention:
            params.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_DISABLED
            params.type_k = params.type_v = llama.GGML_TYPE_F32
        params.embeddings = True
        params.kv_unified = True
        context = llama.llama_init_from_model(self._model, params)
        if not context:
            raise OutOfMemoryError(
                f"llama.cpp ran out of memory for keys and values of {cells} tokens: {self._log.errors()}; "
                "free some memory, or lower max_tokens"
            )
        return context

    def _free_context(self) -> None:
        if self._context is not None:
            self._llama.llama_free(self._context)
            self._context, self._cells, self._prefix = None, 0, None

    def _load(self, bundle: Bundle) -> Any:
        llama = self._llama
        path = bundle.path(GGUF)
        check_file(path, bundle.manifest)
        llama.llama_backend_init()
        params = llama.llama_model_default_params()
        no_devices = (ctypes.c_void_p * 1)(None)
        params.devices = ctypes.addressof(no_devices)  # a GPU build of llama.cpp would take every GPU it sees
        backbone, tensors = self._backbone, bundle.manifest.tensors
        matrices = {
            gguf_name: tensors[name]
            for name, gguf_name in tensor_names(backbone.layers)
            if name.endswith(MATRIX) and name in tensors
        }
        rows = (backbone.hidden, backbone.kv_heads * backbone.head_dim, backbone.intermediate)
        overrides = choose_buffers(params, matrices, rows)
        if set(matrices.values()) & set(repacked_types()):
            # What is repacked is a copy: a mapped file's pages would be held beside it.
            params.load_mode = llama.LLAMA_LOAD_MODE_NONE
        model = llama.llama_model_load_from_file(str(path).encode(), params)
        del overrides
        if not model:
            raise BundleError(
                f"llama.cpp cannot load {path}: {self._log.errors()}; copy the bundle again, or convert again"
            )
        return model


class _Batch:
    """llama_batch over arrays that NumPy owns, each token in one sequence and each token's state wanted."""

    def __init__(self, llama: Any, hidden: int) -> None:
        self.hidden = hidden  # of the file, which may be padded
        self._rows = np.zeros((PACK_TOKENS, hidden), np.float32)
        self._positions = np.empty(PACK_TOKENS, np.int32)
        self._counts = np.ones(PACK_TOKENS, np.int32)  # of sequences that hold the token
        self._owners = np.empty(PACK_TOKENS, np.int32)
        pointers = self._owners.ctypes.data + self._owners.itemsize * np.arange(PACK_TOKENS)
        self._owner_pointers = pointers.astype(np.uintp)
        self._wanted = np.ones(PACK_TOKENS, np.int8)
        arrays: dict[str, NDArray[Any]] = {
            "embd": self._rows,
            "pos": self._positions,
            "n_seq_id": self._counts,
            "seq_id": self._owner_pointers,
            "logits": self._wanted,
        }
        types = dict(llama.llama_batch._fields_)
        pointers_by_name = {name: ctypes.cast(array.ctypes.data, types[name]) for name, array in arrays.items()}
        self._batch = llama.llama_batch(n_tokens=0, token=None, **pointers_by_name)

    def fill(self, rows: Array, positions: Any, owners: Any) -> Any:
        """rows: (tokens, the backbone's hidden); positions and owners (text numbers): (tokens,)."""
        tokens, hidden = rows.shape
        self._rows[:tokens, :hidden] = rows
        self._positions[:tokens] = positions
        self._owners[:tokens] = owners
        self._batch.n_tokens = tokens
        return self._batch
