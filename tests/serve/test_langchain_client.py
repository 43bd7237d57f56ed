"""LangChain's OpenAI client, which sends another tokenizer's ids by default."""

from __future__ import annotations

import numpy as np
import openai
import pytest
import tiktoken
from langchain_openai import OpenAIEmbeddings

import c2llm_lite

TEXTS = ["def read(path):\n    return open(path).read()\n", "x"]


@pytest.fixture(autouse=True)
def _encoding(monkeypatch):
    """A replacement for cl100k_base, which is downloaded: same name, one token per byte."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    encoding = tiktoken.Encoding("cl100k_base", pat_str=r"(?s).", mergeable_ranks=ranks, special_tokens={})
    monkeypatch.setitem(tiktoken.registry.ENCODINGS, "cl100k_base", encoding)


def test_its_default_is_refused_with_the_remedy(server):
    client = OpenAIEmbeddings(model="small:document", base_url=f"{server.url}/v1", api_key="any", max_retries=0)
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False") as refused:
        client.embed_documents(TEXTS)
    assert refused.value.code == "token_ids_refused"


def test_the_remedy_works(server, f32_bundle):
    settings = {"base_url": f"{server.url}/v1", "api_key": "any", "check_embedding_ctx_length": False}
    documents = OpenAIEmbeddings(model="small:document", **settings)
    queries = OpenAIEmbeddings(model="small:query", **settings)
    with c2llm_lite.load(f32_bundle, threads=1) as model:
        np.testing.assert_allclose(
            documents.embed_documents(TEXTS), model.embed(TEXTS, prompt_name="document"), atol=1e-5
        )
        np.testing.assert_allclose(queries.embed_query("x"), model.embed("x", prompt_name="query"), atol=1e-5)
