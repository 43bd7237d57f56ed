"""A bundle as LangChain's Embeddings: each kind of text gets the instruction that the model was trained with."""

from __future__ import annotations

from ..embedder import Embedder
from ..errors import MissingDependencyError

try:
    from langchain_core.embeddings import Embeddings
except ImportError as error:
    raise MissingDependencyError("langchain-core", "langchain", "c2llm_lite.integrations.langchain") from error


class C2LLMEmbeddings(Embeddings):
    """embed_documents() and embed_query() of a loaded bundle; the asynchronous forms run in LangChain's threads.

    query_prompt, document_prompt: names of the bundle's prompts, such as "CosQA-query". dim: only the first components.
    """

    def __init__(
        self,
        model: Embedder,
        *,
        query_prompt: str = "query",
        document_prompt: str = "document",
        dim: int | None = None,
    ) -> None:
        self._model = model
        self._query_prompt = query_prompt
        self._document_prompt = document_prompt
        self._dim = dim

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector per text, with the prompt "document"."""
        vectors: list[list[float]] = self._model.embed(texts, prompt_name=self._document_prompt, dim=self._dim).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query, with the prompt "query"."""
        vector: list[float] = self._model.embed(text, prompt_name=self._query_prompt, dim=self._dim).tolist()
        return vector
