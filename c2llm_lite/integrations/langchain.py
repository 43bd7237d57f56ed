"""LangChain's Embeddings for a bundle: queries and documents get the prompts that the model was trained with."""

from __future__ import annotations

from ..embedder import Embedder
from ..errors import MissingDependencyError

try:
    from langchain_core.embeddings import Embeddings
except ImportError as error:
    raise MissingDependencyError("langchain-core", "langchain", "c2llm_lite.integrations.langchain") from error


class C2LLMEmbeddings(Embeddings):
    """LangChain's Embeddings for a loaded bundle. Asynchronous calls run in LangChain's threads.

    Args:
        model: The loaded bundle.
        query_prompt: The name of the prompt for queries, such as "CosQA-query".
        document_prompt: The name of the prompt for documents.
        dim: Keep only the first components.
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
        """Embed documents, with the document prompt.

        Args:
            texts: The documents.

        Returns:
            One vector per text.

        Raises:
            TextError: As in Embedder.embed().
        """
        vectors: list[list[float]] = self._model.embed(texts, prompt_name=self._document_prompt, dim=self._dim).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Embed a query, with the query prompt.

        Args:
            text: The query.

        Returns:
            Its vector.

        Raises:
            TextError: As in Embedder.embed().
        """
        vector: list[float] = self._model.embed(text, prompt_name=self._query_prompt, dim=self._dim).tolist()
        return vector
