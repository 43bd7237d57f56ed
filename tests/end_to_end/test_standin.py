"""End to end on a real language model: about 100 pairs and loose bounds; `make bench` measures with 1,000."""

from __future__ import annotations

import numpy as np
import pytest

import c2llm_lite
from c2llm_lite.benchmarks.bench.pairs import stdlib_pairs
from c2llm_lite.benchmarks.bench.retrieval import per_query, ranked
from c2llm_lite.convert import convert, reference
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.text import DOCUMENT_PROMPT, TextTokenizer, prompts
from c2llm_lite.verify import fidelity, verify

PAIRS = 100
LONGEST = 350  # characters of a function, so that a slow CPU is done in a minute


@pytest.fixture(scope="module")
def pairs():
    return [pair for pair in stdlib_pairs() if len(pair.code) <= LONGEST][:PAIRS]


@pytest.fixture(scope="module")
def bundles(standin, tmp_path_factory):
    folder = tmp_path_factory.mktemp("standin")
    return {kind: convert(standin, folder / kind, f"gguf:{kind}").folder for kind in ("f16", "q8_0", "q4_0")}


@pytest.fixture(scope="module")
def vectors(bundles, pairs):
    """Queries and documents by each bundle."""
    found = {}
    for kind, folder in bundles.items():
        with c2llm_lite.load(folder) as model:
            queries = model.embed([pair.query for pair in pairs], prompt_name="query")
            found[kind] = queries, model.embed([pair.code for pair in pairs], prompt_name="document")
    return found


def test_f16_states_are_the_reference_s_token_by_token(standin, bundles, pairs):
    checkpoint = open_checkpoint(standin)
    texts = [pair.code for pair in pairs[:6]]
    ids = TextTokenizer(checkpoint.tokenizer_file, checkpoint.max_tokens).encode(texts, DOCUMENT_PROMPT)
    with c2llm_lite.load(bundles["f16"]) as model:
        for text, wanted in zip(texts, reference.states(checkpoint, ids), strict=True):
            states = np.concatenate(list(model.states(text, prompt=DOCUMENT_PROMPT)))
            cosines = np.sum(states * wanted, axis=1) / (
                np.linalg.norm(states, axis=1) * np.linalg.norm(wanted, axis=1)
            )
            assert cosines.min() >= 0.9999


def test_f16_vectors_are_the_reference_s_whatever_their_company(standin, vectors, pairs):
    checkpoint = open_checkpoint(standin)
    ids = TextTokenizer(checkpoint.tokenizer_file, checkpoint.max_tokens).encode(
        [pair.query for pair in pairs[:30]], prompts()["query"]
    )
    assert fidelity(vectors["f16"][0][:30], reference.vectors(checkpoint, ids)).worst >= 0.9999


def test_quantized_vectors_stay_near(vectors):
    for kind, mean, worst in (("q8_0", 0.99, 0.97), ("q4_0", 0.45, 0.2)):
        for ours, full in zip(vectors[kind], vectors["f16"], strict=True):
            found = fidelity(ours, full)
            assert found.mean >= mean
            assert found.worst >= worst


def test_questions_find_their_functions(vectors):
    scores = {
        kind: per_query(ranked(queries @ documents.T), [{i: 1} for i in range(PAIRS)])["ndcg@10"].mean()
        for kind, (queries, documents) in vectors.items()
    }
    assert scores["f16"] >= 0.6  # chance is 0.05
    assert scores["q8_0"] >= scores["f16"] - 0.02
    assert scores["q4_0"] >= scores["f16"] - 0.2


def test_every_bundle_proves_itself(bundles):
    for folder in bundles.values():
        assert all(result.passed and result.own >= 0.9999 for result in verify(folder))
