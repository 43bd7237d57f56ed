"""LangChain's Embeddings, in LangChain's own vector store."""

from __future__ import annotations

import asyncio

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore

from c2llm_lite.integrations.langchain import C2LLMEmbeddings

TEXTS = ["def read(path):\n    return open(path).read()\n", "x", "class Stack: pass"]


def test_vectors_are_embed_s_with_each_kind_s_prompt(model):
    embeddings = C2LLMEmbeddings(model)
    assert isinstance(embeddings, Embeddings)
    documents = model.embed(TEXTS, prompt_name="document")
    query = model.embed("x", prompt_name="query")
    np.testing.assert_allclose(embeddings.embed_documents(TEXTS), documents, atol=1e-5)
    np.testing.assert_allclose(embeddings.embed_query("x"), query, atol=1e-5)
    np.testing.assert_allclose(asyncio.run(embeddings.aembed_documents(TEXTS)), documents, atol=1e-5)
    np.testing.assert_allclose(asyncio.run(embeddings.aembed_query("x")), query, atol=1e-5)
    assert isinstance(embeddings.embed_query("x")[0], float)


def test_prompts_and_width_are_chosen(model):
    embeddings = C2LLMEmbeddings(model, query_prompt="CosQA-query", document_prompt="CosQA-document", dim=5)
    expected = model.embed("x", prompt_name="CosQA-query", dim=5)
    np.testing.assert_allclose(embeddings.embed_query("x"), expected, atol=1e-5)
    assert np.shape(embeddings.embed_documents(TEXTS)) == (3, 5)


def test_a_store_finds_the_function_for_the_question(trained, pairs):
    store = InMemoryVectorStore(C2LLMEmbeddings(trained))
    store.add_documents([Document(pair.code, metadata={"name": pair.name}) for pair in pairs])
    found = [store.similarity_search(pair.query, k=3) for pair in pairs]
    hits = [pair.code in [document.page_content for document in best] for pair, best in zip(pairs, found, strict=True)]
    assert sum(hits) >= 0.8 * len(pairs)  # chance is 3
