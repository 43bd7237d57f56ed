"""The checkpoint's token embeddings, exact and memory-mapped: only the rows that texts use are ever read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bundle import BF16, EMBED_TOKENS, TOKEN_EMBEDDINGS, TOKEN_EMBEDDINGS_DTYPES, Bundle
from .errors import ArgumentError, BundleError
from .pma import Array

MAGIC = b"\x93NUMPY\x01\x00"  # with the version of the format, 1.0


class TokenEmbeddings:
    """Rows of the token embedding matrix as fp32.

    The file is a .npy of (vocab, hidden), in one of bundle.TOKEN_EMBEDDINGS_DTYPES; `stored` is its array, mapped.
    """

    def __init__(self, bundle: Bundle) -> None:
        """Raises BundleError unless the file is a matrix of the manifest's type and shape."""
        path, shape = bundle.path(TOKEN_EMBEDDINGS), (bundle.manifest.backbone.vocab, bundle.manifest.backbone.hidden)
        kind = bundle.manifest.tensors.get(EMBED_TOKENS, "missing")
        try:
            if kind not in TOKEN_EMBEDDINGS_DTYPES:
                raise ArgumentError(f"the manifest says its type is {kind!r}")
            dtype = TOKEN_EMBEDDINGS_DTYPES[kind]
            offset = _check_header(path, dtype, shape)
            self.stored = np.memmap(path, dtype, "r", offset, shape)
        except (OSError, ValueError) as error:
            raise BundleError(
                f"{path} is not a token embedding of {shape}: {error}; copy the bundle again, or convert again"
            ) from error

    def rows(self, ids: Sequence[int]) -> Array:
        """(tokens, hidden) float32. Raises BundleError as index() does."""
        rows = self.stored[self.index(ids)]
        if rows.dtype == TOKEN_EMBEDDINGS_DTYPES[BF16]:
            return bf16_to_fp32(rows)
        exact: Array = rows.astype(np.float32)
        return exact

    def index(self, ids: Sequence[int]) -> NDArray[np.int64]:
        """`ids` as an array. Raises BundleError for one outside the vocabulary: the tokenizer is another's."""
        index = np.asarray(ids, np.int64)
        if index.size and not 0 <= index.min() <= index.max() < len(self.stored):
            raise BundleError(
                f"the tokenizer gave id {index.max()}, and the backbone has {len(self.stored)} token embeddings"
            )
        return index


def _check_header(path: Path, dtype: np.dtype[Any], shape: tuple[int, int]) -> int:
    """Where the rows begin. Raises ValueError unless path's header and size are exactly those of such a matrix."""
    with path.open("rb") as file:
        start = file.read(len(MAGIC) + 2)
        if start[: len(MAGIC)] != MAGIC:
            raise ArgumentError("it is not a .npy file of version 1.0")
        header = file.read(int.from_bytes(start[len(MAGIC) :], "little"))
        offset, size = file.tell(), file.seek(0, 2)
    wanted = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': {shape}, }}"
    if header.rstrip(b" \n") != wanted.encode():
        raise ArgumentError(f"its header is {header[:200]!r}, not {wanted}")
    if size != offset + dtype.itemsize * shape[0] * shape[1]:
        raise ArgumentError(f"it has {size:,} bytes")
    return offset


def bf16_to_fp32(bits: np.ndarray[tuple[int, ...], np.dtype[np.uint16]]) -> Array:
    """bf16 is the upper half of fp32, so widening it is a shift; exact."""
    widened: Array = (bits.astype(np.uint32) << 16).view(np.float32)
    return widened
