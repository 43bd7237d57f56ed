"""A bundle as LlamaIndex's BaseEmbedding: each kind of text gets the instruction that the model was trained with."""

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
BATCH = 256  # texts to a call; LlamaIndex's default, 10, would leave batches half empty


class C2LLMEmbedding(BaseEmbedding):
    """A loaded bundle, for Settings.embed_model or an index's embed_model.

    query_prompt, text_prompt: names of the bundle's prompts, such as "CosQA-query". dim: only the first components.
    """

    query_prompt: str = "query"
    text_prompt: str = "document"
    dim: int | None = None
    _model: Embedder = PrivateAttr()

    def __init__(self, model: Embedder, **fields: Any) -> None:
        """fields: those above and BaseEmbedding's own."""
        super().__init__(**{"model_name": model.bundle.folder.name, "embed_batch_size": BATCH} | fields)
        self._model = model

    @classmethod
    def class_name(cls) -> str:
        """The name under which LlamaIndex records this class."""
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
