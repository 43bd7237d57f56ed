"""The pairs of a question and the code that answers it that retrieval is trained and scored on.

The pairs are those of convert/documented_code.py. The sets that results are scored on are fixed by committed lists, one
JSON object a line:

    heldout_stdlib.jsonl         1,000 pairs of Python 3.11's standard library; scored once per table
    development_networkx.jsonl   500 pairs of networkx; every choice of a recipe or a setting is made on these

A list holds hashes, not source, so it needs the package it was made from. On another version, the pairs that still
match are used, and results give their count beside the list's own hash.

The lists were made by `python -m c2llm_lite.benchmarks.bench.pairs`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import platform
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from c2llm_lite import jsonl
from c2llm_lite.convert.calibrate.documented_code import SCORED_ON, Pair, pairs_in, unique
from c2llm_lite.errors import MissingDependencyError

HELDOUT = Path(__file__).with_name("heldout_stdlib.jsonl")
DEVELOPMENT = Path(__file__).with_name("development_networkx.jsonl")
HELDOUT_PAIRS = 1000
DEVELOPMENT_PAIRS = 500


def stdlib_pairs() -> list[Pair]:
    """The held-out pairs: those of the committed list that this Python's standard library still has, in its order."""
    return _listed(HELDOUT, _all_stdlib_pairs())


def development_pairs() -> list[Pair]:
    """The development pairs, in their list's order. Raises MissingDependencyError without networkx."""
    return _listed(DEVELOPMENT, _all_networkx_pairs())


def training_pairs(folders: Iterable[Path]) -> list[Pair]:
    """Pairs of all packages in `folders`, without the listed ones' functions and docstrings, and without duplicates."""
    listed = [row for path in (HELDOUT, DEVELOPMENT) for row in _rows(path)]
    seen_code = {row["sha256"] for row in listed}
    seen_queries = {row["query_sha256"] for row in listed}
    found = (pair for folder in folders for pair in pairs_in(folder, skip=SCORED_ON))
    kept: list[Pair] = unique(found, seen_code, seen_queries)
    return kept


def package_pairs(package: str, extra: str, needed_for: str) -> Iterator[Pair]:
    """An installed package's. Raises MissingDependencyError, naming the extra and what needs it, where it is not."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise MissingDependencyError(package, extra, needed_for)
    yield from pairs_in(Path(found.origin).parent, package=package)


def list_sha256(path: Path) -> str:
    """The hash of a committed list, which every result contains."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _all_stdlib_pairs() -> Iterator[Pair]:
    yield from pairs_in(Path(sysconfig.get_path("stdlib")))


def _all_networkx_pairs() -> Iterator[Pair]:
    yield from package_pairs("networkx", "dev", "the development set")


def _listed(path: Path, pairs: Iterable[Pair]) -> list[Pair]:
    here = {(pair.module, pair.name, pair.sha256, pair.query_sha256): pair for pair in pairs}
    rows = ((row["module"], row["name"], row["sha256"], row["query_sha256"]) for row in _rows(path))
    return [here[row] for row in rows if row in here]


def _rows(path: Path) -> list[dict[str, str]]:
    _, *rows = (row for _, row in jsonl.read(path))  # the first line says what the list was made from
    return rows


def _write_list(path: Path, made_from: str, pairs: list[Pair], count: int) -> None:
    """The first `count` pairs in the order of their hashes, which is an arbitrary order, but always the same."""
    chosen = sorted(sorted(pairs, key=lambda pair: pair.sha256)[:count], key=lambda pair: (pair.module, pair.name))
    rows = [{"made_from": made_from, "pairs": str(len(chosen))}]
    rows += [{key: getattr(pair, key) for key in ("module", "name", "sha256", "query_sha256")} for pair in chosen]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    code: set[str] = set()
    queries: set[str] = set()  # what either list may hold once
    stdlib = unique(_all_stdlib_pairs(), code, queries)
    networkx = unique(_all_networkx_pairs(), code, queries)
    _write_list(HELDOUT, f"Python {platform.python_version()}", stdlib, HELDOUT_PAIRS)
    networkx_version = importlib.metadata.version("networkx")
    _write_list(DEVELOPMENT, f"networkx {networkx_version}", networkx, DEVELOPMENT_PAIRS)
