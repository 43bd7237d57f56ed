"""A folder in BEIR's form (arXiv 2104.08663), which CoIR's and MTEB's code tasks are kept in too.

    corpus.jsonl       {"_id": …, "title": …, "text": …} a line; title may be missing or empty
    queries.jsonl      {"_id": …, "text": …} a line
    qrels/SPLIT.tsv    a header, then: query id, corpus id, grade, with tabs between

A task can be carried to a machine without a network this way. Every error names its file and line.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from c2llm_lite import jsonl
from c2llm_lite.errors import ArgumentError

CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels"
SPLIT = "test"  # the one that is scored, if a folder has several
HEADER = 1


def read(folder: Path) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    """Queries and documents by id, and each query's grades by document's id; only queries that have grades.

    Raises ValueError, naming file and line, for what is missing, cannot be read, is repeated or names nothing.
    """
    for name in (CORPUS, QUERIES):
        if not (folder / name).is_file():
            raise ArgumentError(
                f"{folder / name} is missing; a task's folder has {CORPUS}, {QUERIES} and {QRELS}/*.tsv"
            )
    grades = _split(folder / QRELS)
    documents = {
        key: "\n".join(part for part in (_string(row, "title", where, ""), _string(row, "text", where)) if part)
        for where, key, row in _rows(folder / CORPUS)
    }
    queries = {}
    for where, key, row in _rows(folder / QUERIES):
        queries[key] = _string(row, "text", where)
        if not queries[key].strip():
            raise ArgumentError(f"{where}: the query {key!r} is empty")
    relevant = _relevant(grades, queries, documents)
    return {key: queries[key] for key in relevant}, documents, relevant


def _split(folder: Path) -> Path:
    found = sorted(folder.glob("*.tsv"))
    if len(found) == 1:
        return found[0]
    if folder / f"{SPLIT}.tsv" in found:
        return folder / f"{SPLIT}.tsv"
    told = ", ".join(path.name for path in found) or "nothing"
    raise ArgumentError(f"{folder} contains {told}; it needs {SPLIT}.tsv, or a single .tsv")


def _rows(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(file and line, id, object) of each line that is not empty."""
    seen: dict[str, str] = {}
    for where, row in jsonl.read(path):
        if not isinstance(row, dict):
            raise ArgumentError(f"{where}: not a JSON object")
        key = _string(row, "_id", where)
        if key in seen:
            raise ArgumentError(f"{where}: the id {key!r} is already at {seen[key]}")
        seen[key] = where
        yield where, key, row


def _string(row: dict[str, Any], name: str, where: str, default: str | None = None) -> str:
    found = row.get(name, default)
    if found is None and default is not None:
        return default
    if not isinstance(found, str):
        raise ArgumentError(f"{where}: no string {name!r}")
    return found


def _relevant(path: Path, queries: dict[str, str], documents: dict[str, str]) -> dict[str, dict[str, int]]:
    relevant: dict[str, dict[str, int]] = {}
    for number, (where, line) in enumerate(jsonl.lines(path)):
        if number < HEADER:
            continue
        fields = line.split("\t")
        if len(fields) != 3 or not fields[2].strip().lstrip("-").isdecimal():
            raise ArgumentError(f"{where}: not a query's id, a document's id and an integer, separated by tabs")
        query, document, grade = fields
        for key, known, what in ((query, queries, QUERIES), (document, documents, CORPUS)):
            if key not in known:
                raise ArgumentError(f"{where}: {key!r} is not in {what}")
        if document in relevant.setdefault(query, {}):
            raise ArgumentError(f"{where}: {query!r} and {document!r} occur twice")
        relevant[query][document] = int(grade)
    found = {query: grades for query, grades in relevant.items() if any(grade > 0 for grade in grades.values())}
    if not found:
        raise ArgumentError(f"{path} has no relevant document; there is nothing to score")
    return found
