"""The checkpoint's token embeddings, exact and memory-mapped: only the rows that texts use are ever read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .bundle import BF16, TOKEN_EMBEDDINGS_DTYPES
from .errors import BundleError
from .pma import Array


class TokenEmbeddings:
    """Rows of the token embedding matrix as fp32.

    The file is a .npy of (vocab, hidden), in one of bundle.TOKEN_EMBEDDINGS_DTYPES.
    """

    def __init__(self, path: Path, vocab: int, hidden: int) -> None:
        """Raises BundleError where the file is not a matrix of that shape."""
        try:
            self._rows = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise BundleError(f"{path} cannot be read: {error}; convert or copy the bundle again") from error
        if self._rows.shape != (vocab, hidden) or self._rows.dtype not in TOKEN_EMBEDDINGS_DTYPES.values():
            raise BundleError(
                f"{path} is {self._rows.dtype} {self._rows.shape}, not a token embedding of {(vocab, hidden)}"
            )

    def rows(self, ids: Sequence[int]) -> Array:
        """(tokens, hidden) float32. Raises BundleError for an id outside the vocabulary: the tokenizer is another's."""
        index = np.asarray(ids, np.int64)
        if index.size and not 0 <= index.min() <= index.max() < len(self._rows):
            raise BundleError(
                f"the tokenizer gave id {index.max()}, and the backbone has {len(self._rows)} token embeddings"
            )
        rows = self._rows[index]
        if rows.dtype == TOKEN_EMBEDDINGS_DTYPES[BF16]:
            return bf16_to_fp32(rows)
        exact: Array = rows.astype(np.float32)
        return exact


def bf16_to_fp32(bits: np.ndarray[tuple[int, ...], np.dtype[np.uint16]]) -> Array:
    """bf16 is the upper half of fp32, so widening it is a shift; exact."""
    widened: Array = (bits.astype(np.uint32) << 16).view(np.float32)
    return widened
