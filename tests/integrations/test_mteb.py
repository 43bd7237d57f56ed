"""MTEB evaluates a bundle on tasks with local data, without a network."""

from __future__ import annotations

import mteb
import numpy as np
import pytest
from datasets import Dataset
from mteb.abstasks import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models import EncoderProtocol

from c2llm_lite.integrations.mteb import C2LLMEncoder
from c2llm_lite.text import DOCUMENT_PROMPT, QUERY_PROMPTS


def half(pairs):
    return pairs[: len(pairs) // 2]


def task(name, pairs, prompt=None):
    """A retrieval task by this name: the first half of the pairs' questions, all of their functions."""

    class Local(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name=name,
            description="Functions of the standard library for their docstrings",
            dataset={"path": "none", "revision": "none"},
            type="Retrieval",
            category="t2t",
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
            prompt=prompt,
        )

        def load_data(self, **_):
            self.dataset = {
                "default": {
                    "test": {
                        "queries": Dataset.from_list(
                            [{"id": f"q{i}", "text": pair.query} for i, pair in enumerate(half(pairs))]
                        ),
                        "corpus": Dataset.from_list(
                            [{"id": f"d{i}", "title": "", "text": pair.code} for i, pair in enumerate(pairs)]
                        ),
                        "relevant_docs": {f"q{i}": {f"d{i}": 1} for i in range(len(half(pairs)))},
                        "top_ranked": None,
                    }
                }
            }
            self.data_loaded = True

    return Local()


@pytest.fixture
def embedded(monkeypatch):
    """What is embedded, and with which prompt."""
    from c2llm_lite import Embedder

    seen = []
    embed = Embedder.embed

    def noted(self, texts, **settings):
        seen.append((settings["prompt"], list(texts)))
        return embed(self, texts, **settings)

    monkeypatch.setattr(Embedder, "embed", noted)
    return seen


@pytest.mark.parametrize(
    ("name", "asked", "query_prompt", "document_prompt"),
    [
        ("CosQA", None, f"{QUERY_PROMPTS['CosQA']}\n", DOCUMENT_PROMPT),
        ("CosQA", "The task's, which ours goes before", f"{QUERY_PROMPTS['CosQA']}\n", DOCUMENT_PROMPT),
        ("OneString", "Find the code.", "Find the code.", "Find the code."),
        ("OneSide", {"query": "Find the code."}, "Find the code.", ""),
        ("NoPrompt", None, AbsTaskRetrieval.abstask_prompt, AbsTaskRetrieval.abstask_prompt),
    ],
)
@pytest.mark.filterwarnings("ignore:Prompt type")
def test_each_task_gets_its_own_prompts(model, pairs, embedded, name, asked, query_prompt, document_prompt):
    """Unknown tasks get what mteb's own encoders give them, so that a published score can be reproduced."""
    encoder = C2LLMEncoder(model)
    assert isinstance(encoder, EncoderProtocol)
    result = mteb.evaluate(encoder, task(name, pairs, asked), cache=None, co2_tracker=False)
    prompts = [(prompt, sorted(text.strip() for text in texts)) for prompt, texts in embedded]
    assert sorted(prompts) == sorted(
        [
            (query_prompt, sorted(pair.query.strip() for pair in half(pairs))),
            (document_prompt, sorted(pair.code.strip() for pair in pairs)),
        ]
    )
    scores = result.task_results[0].scores["test"][0]
    queries = model.embed([pair.query for pair in half(pairs)], prompt=query_prompt)
    documents = model.embed([pair.code for pair in pairs], prompt=document_prompt)
    ranks = np.argsort(np.argsort(-(queries @ documents.T), axis=1), axis=1).diagonal()
    assert scores["recall_at_1"] == pytest.approx(np.mean(ranks == 0), abs=1e-4)
    assert scores["mrr_at_10"] == pytest.approx(np.mean(np.where(ranks < 10, 1 / (ranks + 1), 0)), abs=1e-3)


def test_it_finds_the_functions(trained, pairs):
    result = mteb.evaluate(C2LLMEncoder(trained), task("Local", pairs), cache=None, co2_tracker=False)
    assert result.task_results[0].get_score() >= 0.7


def test_every_task_that_has_a_prompt_is_mteb_s():
    known = {task.metadata.name for task in mteb.get_benchmark("MTEB(Code, v1)").tasks}
    assert set(QUERY_PROMPTS) <= known


def test_results_of_different_bundles_are_kept_apart(model):
    meta = C2LLMEncoder(model).mteb_model_meta
    assert meta.name == "c2llm-lite/f32-gguf-f32"
    assert meta.revision == model.bundle.sha256
    assert meta.embed_dim == 64
