"""encode() beside a real SentenceTransformer's: the same call returns the same kind of result."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import semantic_search

from c2llm_lite.integrations.sentence_transformers import SentenceEncoder

TEXTS = ["def read(path):\n    return open(path).read()\n", "x", "class Stack: pass"]


class Lengths(torch.nn.Module):
    """The least that a SentenceTransformer can be made of: a text's vector is made of its length."""

    def tokenize(self, texts, **_):
        return {"lengths": torch.tensor([[float(len(text))] for text in texts])}

    preprocess = tokenize

    def forward(self, features, **_):
        return features | {"sentence_embedding": features["lengths"] * torch.ones(64) + torch.arange(64.0) - 30}

    def get_embedding_dimension(self):
        return 64

    get_sentence_embedding_dimension = get_embedding_dimension


@pytest.fixture(scope="module")
def encoder(model):
    return SentenceEncoder(model)


@pytest.fixture(scope="module")
def theirs(model):
    return SentenceTransformer(modules=[Lengths()], prompts=model.prompts, device="cpu")


@pytest.mark.parametrize("inputs", ["x", TEXTS, tuple(TEXTS), np.array(TEXTS)], ids=["one", "list", "tuple", "array"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"normalize_embeddings": True},
        {"convert_to_tensor": True},
        {"convert_to_numpy": False},
        {"truncate_dim": 16, "batch_size": 2, "show_progress_bar": False},
        {"precision": "binary"},
        {"precision": "ubinary"},
        {"prompt_name": "query", "prompt": "Find: "},
        {"output_value": "sentence_embedding", "device": "cpu", "convert_to_tensor": True},
    ],
    ids=str,
)
def test_the_same_call_gives_the_same_kind_of_thing(encoder, theirs, inputs, settings):
    ours, wanted = encoder.encode(inputs, **settings), theirs.encode(inputs, **settings)
    assert type(ours) is type(wanted)
    if isinstance(wanted, list):
        assert all(isinstance(row, torch.Tensor) for row in ours)
        ours, wanted = torch.stack(ours), torch.stack(wanted)
    assert (ours.shape, ours.dtype) == (wanted.shape, wanted.dtype)


def test_every_parameter_is_theirs_by_name_and_place():
    ours = list(inspect.signature(SentenceEncoder.encode).parameters.values())
    theirs = inspect.signature(SentenceTransformer.encode).parameters
    assert [one.name for one in ours] == list(theirs)[: len(ours)]
    for one in ours:
        assert one.default == theirs[one.name].default


@pytest.mark.filterwarnings("ignore:.*sentences.*:FutureWarning")
def test_inputs_have_their_earlier_name_too(encoder):
    np.testing.assert_array_equal(encoder.encode(sentences=TEXTS), encoder.encode(TEXTS))
    np.testing.assert_array_equal(encoder.encode_query(sentences="x"), encoder.encode_query("x"))


@pytest.mark.parametrize("kind", [{}, {"convert_to_tensor": True}, {"convert_to_numpy": False}], ids=str)
def test_similarities_are_theirs(encoder, theirs, kind):
    first, second = encoder.encode(TEXTS, **kind), encoder.encode(TEXTS[::-1], **kind)
    for name in ("similarity", "similarity_pairwise"):
        ours, wanted = getattr(encoder, name)(first, second), getattr(theirs, name)(first, second)
        assert type(ours) is type(wanted)
        assert (ours.shape, ours.dtype) == (wanted.shape, wanted.dtype)
        torch.testing.assert_close(ours, wanted)
    one = encoder.encode("x")
    torch.testing.assert_close(encoder.similarity(one, one), theirs.similarity(one, one))


def test_vectors_are_embed_s(encoder, model):
    np.testing.assert_array_equal(encoder.encode(TEXTS), model.embed(TEXTS, normalize=False))
    expected = model.embed(TEXTS, prompt_name="query")
    np.testing.assert_array_equal(encoder.encode_query(TEXTS, normalize_embeddings=True), expected)
    expected = model.embed(TEXTS, prompt_name="document", dim=9)
    np.testing.assert_array_equal(encoder.encode_document(TEXTS, normalize_embeddings=True, truncate_dim=9), expected)
    expected = model.embed("x", prompt_name="CosQA-query", normalize=False)
    np.testing.assert_array_equal(encoder.encode_query("x", prompt_name="CosQA-query"), expected)
    np.testing.assert_array_equal(encoder.encode_query("x", prompt="A: "), encoder.encode("x", prompt="A: "))
    np.testing.assert_array_equal(
        encoder.encode(TEXTS, precision="int8"), model.embed(TEXTS, normalize=False, precision="int8")
    )


def test_binary_is_their_packing(encoder):
    from sentence_transformers.util import quantize_embeddings

    vectors = encoder.encode(TEXTS)
    for precision in ("binary", "ubinary"):
        np.testing.assert_array_equal(
            encoder.encode(TEXTS, precision=precision), quantize_embeddings(vectors, precision)
        )


def test_what_cannot_be_given_is_refused(encoder):
    with pytest.raises(ValueError, match="precision is 'uint8'"):
        encoder.encode("x", precision="uint8")
    with pytest.raises(ValueError, match="output_value is 'token_embeddings'"):
        encoder.encode("x", output_value="token_embeddings")
    with pytest.raises(ValueError, match="no prompt is named"):
        encoder.encode("x", prompt_name="qurey")


def test_a_search_finds_the_function_for_the_question(trained, pairs):
    encoder = SentenceEncoder(trained)
    queries = encoder.encode_query([pair.query for pair in pairs], convert_to_tensor=True)
    documents = encoder.encode_document([pair.code for pair in pairs], convert_to_tensor=True)
    hits = [
        i in [hit["corpus_id"] for hit in best] for i, best in enumerate(semantic_search(queries, documents, top_k=3))
    ]
    assert sum(hits) >= 0.8 * len(pairs)  # chance is 3
