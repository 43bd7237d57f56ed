"""What a bundle is scored on: queries, documents, and which document answers which query.

Four sources, told apart by what is asked for:

    stdlib       the held-out pairs of the running Python's standard library (pairs.py); needs no download
    FOLDER       a folder in BEIR's form (beir.py)
    repo:FOLDER  a source tree's documented definitions and commits (repository.py)
    mteb:NAME    a task of MTEB's, where its data is on the machine
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from c2llm_lite.errors import ArgumentError
from c2llm_lite.text import prompts

from . import beir, mteb_task, repository
from .pairs import stdlib_pairs

STDLIB = "stdlib"
MTEB = "mteb:"
REPOSITORY = "repo:"
LEAST_DOCUMENTS = 2


@dataclass(frozen=True)
class Task:
    """Queries and documents by id; `relevant`: each query's grades by document's id; the prompts' names."""

    name: str
    queries: Mapping[str, str]
    documents: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]
    query_prompt: str = "query"
    document_prompt: str = "document"

    @property
    def sha256(self) -> str:
        """Of everything that scores rest on."""
        whole = [self.query_prompt, self.document_prompt]
        parts = (self.queries, self.documents, {query: dict(found) for query, found in self.relevant.items()})
        return hashlib.sha256(json.dumps([whole, *map(dict, parts)], sort_keys=True).encode()).hexdigest()


def task(asked: str, limit: int | None = None) -> Task:
    """The task that `asked` names: see this file's head.

    limit: only the first so many queries, with all documents; of the standard library's pairs, only those pairs.
    Raises ValueError for what cannot be read, and MissingDependencyError without mteb where it is asked for.
    """
    if asked == STDLIB:
        return _stdlib(limit)
    if asked.startswith(MTEB):
        name = asked.removeprefix(MTEB)
        return _task(name, *mteb_task.read(name), limit)
    folder = Path(asked.removeprefix(REPOSITORY))
    if not folder.is_dir():
        raise ArgumentError(
            f"{asked!r} is not a data source; pass {STDLIB}, a folder in BEIR's format, {REPOSITORY}FOLDER with a "
            f"source tree, or {MTEB}NAME"
        )
    if asked.startswith(REPOSITORY):
        return _task(f"{REPOSITORY}{folder.resolve().name}", *repository.read(folder), limit)
    return _task(folder.resolve().name, *beir.read(folder), limit)


def _stdlib(limit: int | None) -> Task:
    # A name alone can stand twice: defined one way or the other, as the system has it.
    pairs = {f"{pair.module}.{pair.name} {pair.sha256[:8]}": pair for pair in stdlib_pairs()[:limit]}
    return Task(
        STDLIB,
        {key: pair.query for key, pair in pairs.items()},
        {key: pair.code for key, pair in pairs.items()},
        {key: {key: 1} for key in pairs},
    )


def _task(
    name: str,
    queries: Mapping[str, str],
    documents: Mapping[str, str],
    relevant: Mapping[str, Mapping[str, int]],
    limit: int | None,
) -> Task:
    """With the task's own instruction where the model was trained with one, and the code search's otherwise."""
    if len(documents) < LEAST_DOCUMENTS or not queries:
        raise ArgumentError(
            f"{name} has {len(queries)} queries and {len(documents)} documents; a task needs a query, and at least "
            f"{LEAST_DOCUMENTS} documents to rank"
        )
    known = f"{name}-query" in prompts()
    kept = list(queries)[:limit]
    return Task(
        name,
        {key: queries[key] for key in kept},
        documents,
        {key: relevant[key] for key in kept},
        f"{name}-query" if known else "query",
        f"{name}-document" if known else "document",
    )
