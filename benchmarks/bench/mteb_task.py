"""A retrieval task of MTEB's, read by name where its data is on this machine: nothing is downloaded."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from c2llm_lite.errors import ArgumentError, MissingDependencyError

SPLIT = "test"


def read(name: str) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    """Queries and documents by id, and each query's grades by document's id, of the task's first subset.

    Raises MissingDependencyError without mteb, and ValueError for a name it does not know or data that is not here.
    """
    # Read when the libraries are imported; a machine without a network would wait for each request to fail.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    try:
        mteb = import_module("mteb")
    except ImportError as error:
        raise MissingDependencyError("mteb", "mteb", "an MTEB task") from error
    try:
        task = mteb.get_task(name)
    except KeyError:
        raise ArgumentError(f"MTEB has no task {name!r}; mteb.get_tasks() lists them") from None
    try:
        task.load_data()
    except Exception as error:  # datasets and the hub's client raise kinds of their own
        raise ArgumentError(
            f"the data of MTEB's {name} is not on this machine ({type(error).__name__}: {error}); copy it here in "
            "BEIR's format, corpus.jsonl, queries.jsonl and qrels/test.tsv, and pass the folder instead"
        ) from error
    return parts(task)


def parts(task: Any) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    """The same of a task whose data is loaded."""
    subset = next(iter(task.dataset.values()))
    split = subset[SPLIT if SPLIT in subset else next(iter(subset))]
    queries = {str(row["id"]): str(row["text"]) for row in split["queries"]}
    documents = {
        str(row["id"]): "\n".join(part for part in (row.get("title") or "", row["text"]) if part)
        for row in split["corpus"]
    }
    relevant = {str(query): dict(grades) for query, grades in split["relevant_docs"].items() if grades}
    return {key: queries[key] for key in relevant}, documents, relevant
