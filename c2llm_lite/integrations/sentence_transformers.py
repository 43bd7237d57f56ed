"""encode() as sentence-transformers has it, for code that was written for a SentenceTransformer.

The library itself is not needed, and PyTorch only where tensors are asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Literal

import numpy as np

from ..embedder import Embedder
from ..errors import ArgumentError, MissingDependencyError
from ..pma import Array
from ..vectors import Precision, normalise

# sentence-transformers' word for each form, and embed()'s. Its "binary" is the packed bits less 128, as int8.
PRECISIONS: dict[str, Precision] = {"float32": "float32", "int8": "int8", "ubinary": "binary", "binary": "binary"}


def _accepts_sentences(encode: Callable[..., Any]) -> Callable[..., Any]:
    """`sentences=` for `inputs=`: its name until sentence-transformers 5."""

    @functools.wraps(encode)
    def renamed(self: SentenceEncoder, *arguments: Any, **settings: Any) -> Any:
        if "sentences" in settings:
            settings["inputs"] = settings.pop("sentences")
        return encode(self, *arguments, **settings)

    return renamed


class SentenceEncoder:
    """A loaded bundle with a SentenceTransformer's face.

    As there, vectors are of unit length only where normalize_embeddings asks for it, prompt goes before prompt_name,
    and a string gives one vector. Otherwise than there, int8 needs no calibration: each vector has its own scale.
    truncate_dim: for every call that names none.
    """

    similarity_fn_name = "cosine"

    def __init__(self, model: Embedder, *, truncate_dim: int | None = None) -> None:
        self._model = model
        self.prompts = dict(model.prompts)
        self.max_seq_length = model.max_tokens
        self.truncate_dim = truncate_dim

    @_accepts_sentences
    def encode(  # noqa: PLR0917  # the order is sentence-transformers'
        self,
        inputs: str | Sequence[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        output_value: Literal["sentence_embedding"] = "sentence_embedding",
        precision: Literal["float32", "int8", "binary", "ubinary"] = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
    ) -> Any:
        """Vectors: (n, d) for a sequence, (d,) for a string.

        A NumPy array; a tensor with convert_to_tensor; a list of tensors without convert_to_numpy.
        batch_size: accepted and not used; texts are packed by their tokens. device: where tensors go; the model runs
        where it was loaded. Raises embed()'s errors, and ArgumentError for another output_value.
        """
        if precision not in PRECISIONS:
            raise ArgumentError(f"precision is {precision!r}; it can be {', '.join(PRECISIONS)}")
        if output_value != "sentence_embedding":
            raise ArgumentError(f"output_value is {output_value!r}; only 'sentence_embedding' is available")
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
            return _torch().from_numpy(vectors).to(device)
        if convert_to_numpy:
            return vectors
        tensors = _torch().from_numpy(vectors).to(device)
        return tensors if isinstance(inputs, str) else list(tensors)

    @_accepts_sentences
    def encode_query(self, inputs: str | Sequence[str], prompt_name: str | None = None, **settings: Any) -> Any:
        """encode() with the prompt "query", unless another is named."""
        return self.encode(inputs, prompt_name or "query", **settings)

    @_accepts_sentences
    def encode_document(self, inputs: str | Sequence[str], prompt_name: str | None = None, **settings: Any) -> Any:
        """encode() with the prompt "document", unless another is named."""
        return self.encode(inputs, prompt_name or "document", **settings)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of all pairs, a tensor (n, m), of embeddings (n, d) and (m, d): arrays, tensors, or lists of them."""
        return _torch().from_numpy(_unit(embeddings1) @ _unit(embeddings2).T)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of each embedding with its counterpart, a tensor (n,). The embeddings: both (n, d)."""
        return _torch().from_numpy(np.sum(_unit(embeddings1) * _unit(embeddings2), axis=1))

    def get_embedding_dimension(self) -> int:
        """The vectors' width."""
        return self.truncate_dim or self._model.dim

    get_sentence_embedding_dimension = get_embedding_dimension  # its name until sentence-transformers 5


def _unit(embeddings: Any) -> Array:
    """(n, d) float32, each row of unit length; a single embedding (d,) counts as one row."""
    rows = [np.asarray(row.cpu() if hasattr(row, "cpu") else row, np.float32) for row in embeddings]
    return normalise(np.atleast_2d(np.asarray(rows, np.float32)))


def _torch() -> Any:
    try:
        return import_module("torch")
    except ImportError as error:
        raise MissingDependencyError("torch", "torch", "convert_to_tensor") from error
