"""OpenAI's own client against the command: the vectors are embed()'s."""

from __future__ import annotations

import asyncio
import base64

import httpx
import numpy as np
import openai
import pytest

import c2llm_lite

TEXTS = ["def read(path):\n    return open(path).read()\n", "x", "how to read a file", "ünïcode 漢字 😀"] * 3


@pytest.fixture(scope="module")
def model(f32_bundle):
    with c2llm_lite.load(f32_bundle, threads=1) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as made:
        yield made


def vectors(answer):
    assert [row.index for row in answer.data] == list(range(len(answer.data)))
    return np.array([row.embedding for row in answer.data], np.float32)


@pytest.mark.parametrize("encoding_format", ["float", "base64", None])
def test_vectors_are_embed_s(client, model, encoding_format):
    asked = {} if encoding_format is None else {"encoding_format": encoding_format}
    answer = client.embeddings.create(model="small", input=TEXTS, **asked)
    if encoding_format == "base64":  # the client decodes only what it asked for itself
        rows = [np.frombuffer(base64.b64decode(row.embedding), "<f4") for row in answer.data]
        found = np.stack(rows)
    else:
        found = vectors(answer)
    np.testing.assert_allclose(found, model.embed(TEXTS), atol=1e-5)
    assert answer.model == "small"
    assert answer.usage.prompt_tokens == sum(map(len, model.tokenize(TEXTS))) == answer.usage.total_tokens


def test_one_string_alone_is_bit_for_bit_embed_s(client, model):
    answer = client.embeddings.create(model="small", input="x", encoding_format="float")
    np.testing.assert_array_equal(vectors(answer)[0], model.embed("x"))


@pytest.mark.parametrize(("alias", "name"), [("small:query", "query"), ("small:document", "document")])
def test_aliases_and_prompt_name_give_the_prompt(client, model, alias, name):
    by_alias = vectors(client.embeddings.create(model=alias, input=TEXTS))
    by_field = vectors(client.embeddings.create(model="small", input=TEXTS, extra_body={"prompt_name": name}))
    np.testing.assert_allclose(by_alias, model.embed(TEXTS, prompt_name=name), atol=1e-5)
    np.testing.assert_allclose(by_field, by_alias, atol=1e-5)


def test_dimensions(client, model):
    found = vectors(client.embeddings.create(model="small", input=TEXTS, dimensions=10))
    np.testing.assert_allclose(found, model.embed(TEXTS, dim=10), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_many_at_once_from_the_asynchronous_client(server, model):
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
            names = ["small", "small:query", "small:document"] * 10
            asked = [client.embeddings.create(model=name, input=[f"text {i}", "x"]) for i, name in enumerate(names)]
            return list(zip(names, await asyncio.gather(*asked), strict=True))

    for i, (name, answer) in enumerate(asyncio.run(ask())):
        prompt_name = name.partition(":")[2] or None
        expected = model.embed([f"text {i}", "x"], prompt_name=prompt_name)
        np.testing.assert_allclose(vectors(answer), expected, atol=1e-5)


def test_models(client):
    assert [model.id for model in client.models.list()] == ["small", "small:query", "small:document"]


def test_errors_are_openai_s(client):
    with pytest.raises(openai.NotFoundError) as missing:
        client.embeddings.create(model="text-embedding-3-small", input="x")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as empty:
        client.embeddings.create(model="small", input=["a", ""])
    assert empty.value.body["param"] == "input"
    assert "text 1 is empty" in empty.value.body["message"]
    with pytest.raises(openai.BadRequestError, match="this model takes at most 2,048"):
        client.embeddings.create(model="small", input="many words and more words " * 400)


def test_a_lone_surrogate_is_named(server):
    raw = b'{"model": "small", "input": ["fine", "\\ud800"]}'
    answer = httpx.post(f"{server.url}/v1/embeddings", content=raw)
    assert answer.status_code == 400
    assert "text 1 is not valid Unicode" in answer.json()["error"]["message"]


def test_long_texts_are_cut_where_the_server_was_told_to(launch, model):
    server = launch("--cut-long-texts")
    text = "many words and more words " * 400
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
        answer = client.embeddings.create(model="small", input=text)
    np.testing.assert_allclose(vectors(answer)[0], model.embed(text), atol=1e-5)
    assert answer.usage.prompt_tokens == model.max_tokens


def test_this_model_s_own_token_ids_where_they_are_accepted(launch, model):
    server = launch("--accept-token-ids")
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
        found = vectors(client.embeddings.create(model="small", input=model.tokenize(TEXTS)))
        one = vectors(client.embeddings.create(model="small", input=model.tokenize(["x"])[0]))
    np.testing.assert_allclose(found, model.embed(TEXTS), atol=1e-5)
    np.testing.assert_allclose(one[0], model.embed("x"), atol=1e-5)
