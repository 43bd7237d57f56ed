"""Documented functions cut out of Python source: a question in words and the code that answers it.

A documented function gives a pair: the first paragraph of its docstring is the query, its source without the docstring
is the document. Benchmarks search among them; the stand-in's head is trained on them.
"""

from __future__ import annotations

import ast
import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Folders whose functions are copies of a package that may be in training, or tests.
VENDORED = {"site-packages", "ensurepip", "lib2to3", "_distutils", "extern", "externals"}
VENDORED |= {"_vendor", "_vendored", "vendor", "vendored"}
TESTS = {"test", "tests", "testing", "idle_test", "conftest"}
# Packages that this project's own figures are scored on, or kept for that: nothing is trained or calibrated on them.
SCORED_ON = {"networkx", "sympy", "scipy"}
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
        return sha256_of_code(self.code)

    @property
    def query_sha256(self) -> str:
        """Of the query's words, whatever their case and punctuation."""
        return sha256_of_words(self.query)


def pairs_in(folder: Path, *, package: str = "", skip: Iterable[str] = ()) -> Iterator[Pair]:
    """Pairs of every Python file below `folder`, sorted by path; `package` is the prefix of their modules' names.

    skip: names of top folders to leave out. Vendored copies, tests and what this Python cannot parse are skipped.
    """
    for parts, path in sorted(_sources(folder, skip), key=lambda source: source[1]):
        module = ".".join(part for part in (package, *parts) if part and part != "__init__")
        try:
            yield from pairs_of(path.read_text(encoding="utf-8"), module)
        except (UnicodeDecodeError, SyntaxError, ValueError, RecursionError):
            continue


def _sources(folder: Path, skip: Iterable[str]) -> Iterator[tuple[tuple[str, ...], Path]]:
    """Every Python file below `folder`, with its place there; not vendored copies, tests, or top folders in `skip`."""
    left_out, skipped_tops = VENDORED | TESTS, set(skip)
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        if not (left_out.intersection(parts) or parts[0] in skipped_tops or parts[-1].startswith("test_")):
            yield parts, path


def pairs_of(source: str, module: str) -> Iterator[Pair]:
    """Pairs of one file's functions and methods. Raises SyntaxError if this Python cannot parse it."""
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
        if says_enough(query) and len(code.splitlines()) >= MIN_CODE_LINES:
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


def unique(pairs: Iterable[Pair], seen_code: set[str], seen_queries: set[str]) -> list[Pair]:
    """The pairs whose code and query were not seen before; adds them to what was seen."""
    kept = []
    for pair in pairs:
        code, query = pair.sha256, pair.query_sha256
        if code not in seen_code and query not in seen_queries:
            kept.append(pair)
        seen_code.add(code)
        seen_queries.add(query)
    return kept


def says_enough(query: str) -> bool:
    """Whether a query has words enough."""
    return len(re.findall(r"\w+", query)) >= MIN_QUERY_WORDS


def sha256_of_code(code: str) -> str:
    """Of code, whatever its spacing."""
    return hashlib.sha256("".join(code.split()).encode()).hexdigest()


def sha256_of_words(text: str) -> str:
    """Of a text's words, whatever their case and punctuation."""
    return hashlib.sha256(" ".join(re.findall(r"\w+", text.lower())).encode()).hexdigest()
