"""LlamaIndex's BaseEmbedding, in LlamaIndex's own index."""

from __future__ import annotations

import asyncio
import pickle

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode

from c2llm_lite.integrations.llamaindex import C2LLMEmbedding

TEXTS = ["def read(path):\n    return open(path).read()\n", "x", "class Stack: pass"]


def test_vectors_are_embed_s_with_each_kind_s_prompt(model):
    embedding = C2LLMEmbedding(model)
    documents = model.embed(TEXTS, prompt_name="document")
    query = model.embed("x", prompt_name="query")
    np.testing.assert_allclose(embedding.get_text_embedding_batch(TEXTS), documents, atol=1e-5)
    np.testing.assert_allclose(embedding.get_text_embedding("x"), documents[1], atol=1e-5)
    np.testing.assert_allclose(embedding.get_query_embedding("x"), query, atol=1e-5)
    np.testing.assert_allclose(asyncio.run(embedding.aget_text_embedding_batch(TEXTS)), documents, atol=1e-5)
    np.testing.assert_allclose(asyncio.run(embedding.aget_text_embedding("x")), documents[1], atol=1e-5)
    np.testing.assert_allclose(asyncio.run(embedding.aget_query_embedding("x")), query, atol=1e-5)


def test_fields_are_chosen_and_checked(model):
    embedding = C2LLMEmbedding(model, query_prompt="CosQA-query", dim=5, embed_batch_size=2)
    expected = model.embed("x", prompt_name="CosQA-query", dim=5)
    np.testing.assert_allclose(embedding.get_query_embedding("x"), expected, atol=1e-5)
    assert np.shape(embedding.get_text_embedding_batch(TEXTS)) == (3, 5)
    with pytest.raises(ValueError, match="dim"):
        C2LLMEmbedding(model, dim="wide")


def test_it_is_pickled_with_its_model(model):
    again = pickle.loads(pickle.dumps(C2LLMEmbedding(model, dim=5)))
    np.testing.assert_allclose(again.get_query_embedding("x"), model.embed("x", prompt_name="query", dim=5), atol=1e-5)


def test_an_index_finds_the_function_for_the_question(trained, pairs):
    nodes = [TextNode(text=pair.code, id_=str(i)) for i, pair in enumerate(pairs)]
    retriever = VectorStoreIndex(nodes, embed_model=C2LLMEmbedding(trained)).as_retriever(similarity_top_k=3)
    hits = [str(i) in [node.node_id for node in retriever.retrieve(pair.query)] for i, pair in enumerate(pairs)]
    assert sum(hits) >= 0.8 * len(pairs)  # chance is 3
