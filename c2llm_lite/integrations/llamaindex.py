"""LlamaIndex's BaseEmbedding for a bundle: queries and texts get the prompts that the model was trained with."""

from __future__ import annotations

import asyncio
from typing import Any

from ..embedder import Embedder
from ..errors import MissingDependencyError

try:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import PrivateAttr
except ImportError as error:
    raise MissingDependencyError("llama-index-core", "llamaindex", "c2llm_lite.integrations.llamaindex") from error

Vector = list[float]
BATCH = 256  # texts per call; LlamaIndex's default of 10 would leave batches half empty


class C2LLMEmbedding(BaseEmbedding):
    """LlamaIndex's BaseEmbedding for a loaded bundle: pass it as Settings.embed_model or an index's embed_model.

    Attributes:
        query_prompt: The name of the prompt for queries, such as "CosQA-query".
        text_prompt: The name of the prompt for texts.
        dim: Keep only the first components.
    """

    query_prompt: str = "query"
    text_prompt: str = "document"
    dim: int | None = None
    _model: Embedder = PrivateAttr()

    def __init__(self, model: Embedder, **fields: Any) -> None:
        """Wrap a loaded bundle.

        Args:
            model: The loaded bundle.
            **fields: The attributes above and those of BaseEmbedding.
        """
        super().__init__(**{"model_name": model.bundle.folder.name, "embed_batch_size": BATCH} | fields)
        self._model = model

    @classmethod
    def class_name(cls) -> str:
        """The name of this class in LlamaIndex's serialized form."""
        return "C2LLMEmbedding"

    def _get_query_embedding(self, query: str) -> Vector:
        vector: Vector = self._model.embed(query, prompt_name=self.query_prompt, dim=self.dim).tolist()
        return vector

    def _get_text_embedding(self, text: str) -> Vector:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Vector]:
        vectors: list[Vector] = self._model.embed(texts, prompt_name=self.text_prompt, dim=self.dim).tolist()
        return vectors

    async def _aget_query_embedding(self, query: str) -> Vector:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> Vector:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Vector]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
