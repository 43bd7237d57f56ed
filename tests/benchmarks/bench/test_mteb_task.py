"""A task of MTEB by name: read if its data is here, and a clear error if not."""

from __future__ import annotations

import mteb
import pytest
from datasets import Dataset

from c2llm_lite.benchmarks.bench import data, mteb_task

DATASET = {
    "default": {
        "test": {
            "queries": Dataset.from_list([{"id": "q1", "text": "add two numbers"}, {"id": "q2", "text": "alone"}]),
            "corpus": Dataset.from_list(
                [
                    {"id": "d1", "title": "add", "text": "def add(): ..."},
                    {"id": "d2", "title": "", "text": "class A:"},
                ]
            ),
            "relevant_docs": {"q1": {"d1": 1}, "q2": {}},
        }
    }
}


def test_a_task_whose_data_is_here(monkeypatch):
    task = mteb.get_task("CosQA")
    monkeypatch.setattr(type(task), "load_data", lambda self: setattr(self, "dataset", DATASET))
    found = data.task("mteb:CosQA")
    assert found.queries == {"q1": "add two numbers"}
    assert found.documents == {"d1": "add\ndef add(): ...", "d2": "class A:"}
    assert found.relevant == {"q1": {"d1": 1}}
    assert found.query_prompt == "CosQA-query"


def test_data_that_is_not_here_names_the_way_round(monkeypatch):
    def refuse(self):
        raise ConnectionError("offline")

    monkeypatch.setattr(type(mteb.get_task("CosQA")), "load_data", refuse)
    with pytest.raises(ValueError, match=r"CosQA is not on this machine.*offline.*in BEIR's form"):
        mteb_task.read("CosQA")


def test_a_name_that_mteb_does_not_know():
    with pytest.raises(ValueError, match="MTEB has no task 'Nope'"):
        mteb_task.read("Nope")
