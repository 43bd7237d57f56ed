"""Pairs of a question and the code that answers it, cut out of Python source: what retrieval is trained and scored on.

A documented function gives a pair: the first paragraph of its docstring is the query, its source without the docstring
is the document. The sets that results are scored on are fixed by committed lists, one JSON object a line:

    heldout_stdlib.jsonl         1,000 pairs of Python 3.11's standard library; scored once per table
    development_networkx.jsonl   500 pairs of networkx; every choice of a recipe or a setting is made on these

A list holds hashes, not source, so it needs the package it was made from. On another version, the pairs that still
match are used, and results give their count beside the list's own hash.

The lists were made by `python -m c2llm_lite.benchmarks.pairs`.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import platform
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from c2llm_lite.errors import MissingDependencyError

HELDOUT = Path(__file__).with_name("heldout_stdlib.jsonl")
DEVELOPMENT = Path(__file__).with_name("development_networkx.jsonl")
HELDOUT_PAIRS = 1000
DEVELOPMENT_PAIRS = 500

# Folders whose functions are copies of a package that may be in training, or tests.
VENDORED = {"site-packages", "ensurepip", "lib2to3", "_distutils", "extern", "externals"}
VENDORED |= {"_vendor", "_vendored", "vendor", "vendored"}
TESTS = {"test", "tests", "testing", "idle_test", "conftest"}
# What a list was drawn from, and packages kept for later as code of a kind unseen in training.
NOT_FOR_TRAINING = {"networkx", "sympy", "scipy"}
# CodeSearchNet's filters (arXiv 1909.09436, section 2): no short documentation, no short function, no test, no special
# method; duplicates are dropped.
MIN_QUERY_WORDS = 3
MIN_CODE_LINES = 3

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Pair:
    """A documented function. module: dotted; name: qualified inside it; query: the docstring's first paragraph."""

    module: str
    name: str
    query: str
    code: str

    @property
    def sha256(self) -> str:
        """Of the function without its docstring, whatever its spacing."""
        return _sha256("".join(self.code.split()))

    @property
    def query_sha256(self) -> str:
        """Of the query's words, whatever their case and punctuation."""
        return _sha256(" ".join(re.findall(r"\w+", self.query.lower())))


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
    found = (pair for folder in folders for pair in pairs_in(folder, skip=NOT_FOR_TRAINING))
    return _unique(found, seen_code, seen_queries)


def list_sha256(path: Path) -> str:
    """The hash of a committed list, which stands in every result."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pairs_in(folder: Path, *, package: str = "", skip: Iterable[str] = ()) -> Iterator[Pair]:
    """Pairs of every Python file below `folder`, sorted by path; `package` is what stands before their modules' names.

    skip: names of top folders to leave out. Vendored copies, tests and what this Python cannot parse are left out.
    """
    left_out, skipped_tops = VENDORED | TESTS, set(skip)
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if left_out.intersection(parts) or parts[0] in skipped_tops or parts[-1].startswith("test_"):
            continue
        module = ".".join(part for part in (package, *parts) if part and part != "__init__")
        try:
            yield from pairs_of(path.read_text(encoding="utf-8"), module)
        except (UnicodeDecodeError, SyntaxError, ValueError, RecursionError):
            continue


def pairs_of(source: str, module: str) -> Iterator[Pair]:
    """Pairs of one file's functions and methods. Raises SyntaxError where this Python cannot parse it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's source
        tree = ast.parse(source)
    lines = source.splitlines()
    for name, function in _functions(tree, ""):
        docstring = ast.get_docstring(function)
        short_name = name.rpartition(".")[2]
        if docstring is None or "test" in short_name.lower() or short_name.startswith("__"):
            continue
        query = " ".join(re.split(r"\n\s*\n", docstring.strip())[0].split())
        code = _without_docstring(function, lines)
        if len(re.findall(r"\w+", query)) >= MIN_QUERY_WORDS and len(code.splitlines()) >= MIN_CODE_LINES:
            yield Pair(module, name, query, code)


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, _Function]]:
    """Functions at a module's top level and in its classes; not those inside functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Function):
            yield prefix + child.name, child
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.If | ast.Try):
            yield from _functions(child, prefix)


def _without_docstring(function: _Function, lines: list[str]) -> str:
    """The function's lines, decorators first, without its docstring and its indentation."""
    start = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)]) - 1
    docstring = function.body[0]
    if len(function.body) == 1:  # nothing to look for
        return ""
    kept = lines[start : docstring.lineno - 1] + lines[docstring.end_lineno : function.end_lineno]
    indent = len(lines[start]) - len(lines[start].lstrip())
    return "\n".join(line[indent:].rstrip() for line in kept if line.strip())


def _unique(pairs: Iterable[Pair], seen_code: set[str], seen_queries: set[str]) -> list[Pair]:
    kept = []
    for pair in pairs:
        code, query = pair.sha256, pair.query_sha256
        if code not in seen_code and query not in seen_queries:
            kept.append(pair)
        seen_code.add(code)
        seen_queries.add(query)
    return kept


def _all_stdlib_pairs() -> Iterator[Pair]:
    return pairs_in(Path(sysconfig.get_path("stdlib")))


def _all_networkx_pairs() -> Iterator[Pair]:
    found = importlib.util.find_spec("networkx")
    if found is None or found.origin is None:
        raise MissingDependencyError("networkx", "dev", "the development set")
    return pairs_in(Path(found.origin).parent, package="networkx")


def _listed(path: Path, pairs: Iterable[Pair]) -> list[Pair]:
    here = {(pair.module, pair.name, pair.sha256, pair.query_sha256): pair for pair in pairs}
    rows = ((row["module"], row["name"], row["sha256"], row["query_sha256"]) for row in _rows(path))
    return [here[row] for row in rows if row in here]


def _rows(path: Path) -> list[dict[str, str]]:
    _, *rows = path.read_text(encoding="utf-8").splitlines()  # the first line says what the list was made from
    return [json.loads(row) for row in rows]


def _write_list(path: Path, made_from: str, pairs: list[Pair], count: int) -> None:
    """The first `count` pairs in the order of their hashes, which is an arbitrary order, but always the same."""
    chosen = sorted(sorted(pairs, key=lambda pair: pair.sha256)[:count], key=lambda pair: (pair.module, pair.name))
    rows = [{"made_from": made_from, "pairs": str(len(chosen))}]
    rows += [{key: getattr(pair, key) for key in ("module", "name", "sha256", "query_sha256")} for pair in chosen]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    code: set[str] = set()
    queries: set[str] = set()  # what either list may hold once
    stdlib = _unique(_all_stdlib_pairs(), code, queries)
    networkx = _unique(_all_networkx_pairs(), code, queries)
    _write_list(HELDOUT, f"Python {platform.python_version()}", stdlib, HELDOUT_PAIRS)
    networkx_version = importlib.metadata.version("networkx")
    _write_list(DEVELOPMENT, f"networkx {networkx_version}", networkx, DEVELOPMENT_PAIRS)
