"""The interface of sentence-transformers, for code written for a SentenceTransformer.

The library itself is not needed, and PyTorch only for tensors.
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
from ..vectors import Precision, normalize

# sentence-transformers' name of each precision -> embed()'s. Its "binary" is the packed bits minus 128, as int8.
PRECISIONS: dict[str, Precision] = {"float32": "float32", "int8": "int8", "ubinary": "binary", "binary": "binary"}


def _accepts_sentences(encode: Callable[..., Any]) -> Callable[..., Any]:
    """Also accept `sentences=`, the name of `inputs=` before sentence-transformers 5."""

    @functools.wraps(encode)
    def renamed(self: SentenceEncoder, *arguments: Any, **settings: Any) -> Any:
        if "sentences" in settings:
            settings["inputs"] = settings.pop("sentences")
        return encode(self, *arguments, **settings)

    return renamed


class SentenceEncoder:
    """A loaded bundle with the interface of a SentenceTransformer.

    As there, vectors have unit length only with normalize_embeddings, prompt overrides prompt_name, and a string gives
    one vector. Unlike there, int8 needs no calibration: each vector has its own scale.

    Args:
        model: The loaded bundle.
        truncate_dim: The default of encode()'s truncate_dim.
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
        """Embed texts.

        Args:
            inputs: A string or a sequence of strings.
            prompt_name: The name of a prompt.
            prompt: A literal prefix; overrides `prompt_name`.
            batch_size: Ignored: texts are packed by their tokens.
            show_progress_bar: Print the rate and the time left.
            output_value: Only "sentence_embedding".
            precision: As in sentence-transformers.
            convert_to_numpy: Return an array; otherwise, a list of tensors.
            convert_to_tensor: Return one tensor; overrides `convert_to_numpy`.
            device: The device of returned tensors. The model runs where it was loaded.
            normalize_embeddings: Scale vectors to unit length.
            truncate_dim: Keep only the first components.

        Returns:
            Vectors (n, d) for a sequence, (d,) for a string.

        Raises:
            ArgumentError: An argument is out of range, or output_value is not supported.
            TextError: As in Embedder.embed().
        """
        if precision not in PRECISIONS:
            raise ArgumentError(f"precision is {precision!r}; it must be one of {', '.join(PRECISIONS)}")
        if output_value != "sentence_embedding":
            raise ArgumentError(f"output_value is {output_value!r}; only 'sentence_embedding' is supported")
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
        """encode() with the prompt "query" by default.

        Args:
            inputs: As in encode().
            prompt_name: As in encode().
            **settings: As in encode().

        Returns:
            As encode() does.
        """
        return self.encode(inputs, prompt_name or "query", **settings)

    @_accepts_sentences
    def encode_document(self, inputs: str | Sequence[str], prompt_name: str | None = None, **settings: Any) -> Any:
        """encode() with the prompt "document" by default.

        Args:
            inputs: As in encode().
            prompt_name: As in encode().
            **settings: As in encode().

        Returns:
            As encode() does.
        """
        return self.encode(inputs, prompt_name or "document", **settings)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of all pairs.

        Args:
            embeddings1: (n, d): an array, a tensor, or a list of either.
            embeddings2: (m, d), likewise.

        Returns:
            A tensor (n, m).
        """
        return _torch().from_numpy(_unit(embeddings1) @ _unit(embeddings2).T)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines of corresponding embeddings.

        Args:
            embeddings1: (n, d): an array, a tensor, or a list of either.
            embeddings2: (n, d), likewise.

        Returns:
            A tensor (n,).
        """
        return _torch().from_numpy(np.sum(_unit(embeddings1) * _unit(embeddings2), axis=1))

    def get_embedding_dimension(self) -> int:
        """The number of components of a vector."""
        return self.truncate_dim or self._model.dim

    get_sentence_embedding_dimension = get_embedding_dimension  # its name before sentence-transformers 5


def _unit(embeddings: Any) -> Array:
    """(n, d) float32 with rows of unit length. A single embedding (d,) becomes one row."""
    rows = [np.asarray(row.cpu() if hasattr(row, "cpu") else row, np.float32) for row in embeddings]
    return normalize(np.atleast_2d(np.asarray(rows, np.float32)))


def _torch() -> Any:
    try:
        return import_module("torch")
    except ImportError as error:
        raise MissingDependencyError("torch", "torch", "convert_to_tensor") from error
