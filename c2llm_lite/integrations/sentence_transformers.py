"""encode() as sentence-transformers has it, for code that was written for a SentenceTransformer.

The library itself is not needed, and PyTorch only where tensors are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal

import numpy as np

from ..embedder import Embedder
from ..errors import MissingDependencyError
from ..vectors import Precision

# sentence-transformers' word for each form, and embed()'s. Its "binary" is the packed bits less 128, as int8.
PRECISIONS: dict[str, Precision] = {"float32": "float32", "int8": "int8", "ubinary": "binary", "binary": "binary"}


class SentenceEncoder:
    """A loaded bundle with a SentenceTransformer's face.

    As there, vectors are of unit length only where normalize_embeddings asks for it, prompt goes before prompt_name,
    and a string gives one vector. Otherwise than there, int8 needs no calibration: each vector has its own scale.
    truncate_dim: for every call that names none.
    """

    def __init__(self, model: Embedder, *, truncate_dim: int | None = None) -> None:
        self._model = model
        self.prompts = dict(model.prompts)
        self.max_seq_length = model.max_tokens
        self.truncate_dim = truncate_dim

    def encode(  # noqa: PLR0917  # the order is sentence-transformers'
        self,
        inputs: str | Sequence[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        precision: Literal["float32", "int8", "binary", "ubinary"] = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
    ) -> Any:
        """Vectors: (n, d) for a sequence, (d,) for a string.

        A NumPy array; a tensor with convert_to_tensor; a list of tensors without convert_to_numpy.
        batch_size: taken and not used; texts are packed by their tokens. Raises embed()'s errors.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"precision is {precision!r}; it can be {', '.join(PRECISIONS)}")
        vectors = self._model.embed(
            inputs if isinstance(inputs, str) else list(inputs),
            prompt_name=prompt_name if prompt is None else None,
            prompt=prompt,
            dim=truncate_dim if truncate_dim is not None else self.truncate_dim,
            normalize=normalize_embeddings,
            precision=PRECISIONS[precision],
            progress=bool(show_progress_bar),
        )
        if precision == "binary":
            vectors = (vectors.astype(np.int16) - 128).astype(np.int8)
        if convert_to_tensor:
            return _torch().from_numpy(vectors)
        if convert_to_numpy:
            return vectors
        tensors = _torch().from_numpy(vectors)
        return tensors if isinstance(inputs, str) else list(tensors)

    def encode_query(self, inputs: str | Sequence[str], prompt_name: str | None = None, **settings: Any) -> Any:
        """encode() with the prompt "query", unless another is named."""
        return self.encode(inputs, prompt_name or "query", **settings)

    def encode_document(self, inputs: str | Sequence[str], prompt_name: str | None = None, **settings: Any) -> Any:
        """encode() with the prompt "document", unless another is named."""
        return self.encode(inputs, prompt_name or "document", **settings)

    def get_embedding_dimension(self) -> int:
        """The vectors' width."""
        return self.truncate_dim or self._model.dim

    get_sentence_embedding_dimension = get_embedding_dimension  # its name until sentence-transformers 5


def _torch() -> Any:
    try:
        return import_module("torch")
    except ImportError as error:
        raise MissingDependencyError("torch", "torch", "convert_to_tensor") from error
