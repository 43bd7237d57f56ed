"""Misuses the Python interface: odd arguments must give a clear error or the right result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import c2llm_lite
from c2llm_lite.bulk.file import embed_file
from c2llm_lite.convert import convert, list_targets
from c2llm_lite.embedder import Embedder
from c2llm_lite.search import Index
from c2llm_lite.verify import verify

from .crafted import TOLERANCE, short
from .fixtures import GGUF, OPENVINO, TORCH, Fixtures
from .forks import Case
from .outcome import DifferentError
from .tiny import TEXTS, VOCAB
from .words import model

PRELOAD: tuple[str, ...] = (
    "llama_cpp.llama_cpp",
    "openvino",
    "openvino._offline_transformations",
    "torch",
    "transformers",
)
PRELOAD += ("transformers.models.qwen2.modeling_qwen2", "pyarrow.parquet")
ENGINES = (GGUF, OPENVINO, TORCH)
# Mistakes that people make; a list where a path is due is refused by Python itself, well enough.
NUMBERS: tuple[Any, ...] = (None, 0, 1, -1, 2, 1.0, 1.5, "2", 2**31, 2**63, 10**30, np.int64(2), np.float32(2))
WORDS: tuple[Any, ...] = ("", "x", "\ud800", "\0", "cpu", "CPU", "cuda:99", "gpu", 5, b"x", "x" * 10**6)
TEXT_VALUES: tuple[Any, ...] = (
    *(
        None,
        5,
        1.5,
        True,
        b"x",
        {},
        {"x": 1},
        [],
        [None],
        [5],
        [b"x"],
        [["x"]],
        ["x", None],
        [""],
        "",
        "\ud800",
        ["\ud800"],
    ),
    *(np.array("x"), np.array(["x", "y"]), np.array([1.5]), np.array([]), np.array([["x"]]), ("x", "y"), {"x", "y"}),
    *(
        "\0",
        "x\0y",
        " ",
        "\n",
        "\ufeff",
        "x" * 10**6,
        ["x"] * 5000,
        range(3),
        object(),
        object,
        Exception("x"),
        iter([]),
    ),
)
IDS: tuple[Any, ...] = (
    *(
        [[1, 2], [3]],
        [],
        [[]],
        [[1.7]],
        [[1.0]],
        [["x"]],
        [[None]],
        [[-1]],
        [[VOCAB]],
        [[2**31]],
        [[2**63]],
        [[10**30]],
    ),
    *([[1] * 100_000], [[1] * 3000], [1, 2], [[True]], [np.array([1, 2])], np.array([[1, 2]])),
    *([np.array([1.5])], [(1, 2)], [[np.int32(5)]], [[np.uint64(2**63)]], [{1, 2}], [b"ab"], ["ab"], [[float("nan")]]),
)


def cases(fixtures: Fixtures) -> Iterator[Case]:
    """All of the area."""
    for target in ENGINES:
        for field, values in (("threads", NUMBERS), ("max_tokens", NUMBERS), ("device", WORDS)):
            for value in (*values, *((1_000_000, 4096, 257) if field == "threads" else ())):
                yield Case(
                    f"{target}: load({field}={short(value)})", partial(_loaded, fixtures, target, {field: value})
                )
        for value in IDS:
            name = f"{target}: embed_tokens({_shown(value)})"
            yield Case(name, partial(_tokens, fixtures, target, value))
    for field, values in (
        ("dim", NUMBERS),
        ("prompt", WORDS),
        ("prompt_name", WORDS),
        ("precision", WORDS),
        ("normalize", NUMBERS),
    ):
        for value in values:
            yield Case(f"embed({field}={short(value)})", partial(_embedded, fixtures, TEXTS, {field: value}))
    for value in TEXT_VALUES:
        yield Case(f"embed({_shown(value)})", partial(_embedded, fixtures, value, {}))
    yield from _folders(fixtures)
    yield from _others(fixtures)


def _shown(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], list) and len(value[0]) > 9:
        return f"{len(value[0]):,} ids"
    if isinstance(value, type):
        return "a type"
    return f"{type(value).__name__} {short(value)}" if type(value) is not object else "an object"


def _loaded(fixtures: Fixtures, target: str, arguments: dict[str, Any], scratch: Path) -> None:
    del scratch
    with c2llm_lite.load(fixtures.bundle(target), **({"threads": 1, "cache": False} | arguments)) as model:
        found = model.embed(TEXTS)
        if model.max_tokens > 1000:
            _same(found, fixtures, target)


def _same(found: Any, fixtures: Fixtures, target: str) -> None:
    right = fixtures.vectors(target)
    if found.shape != right.shape or not np.allclose(found, right, atol=TOLERANCE):
        raise DifferentError("other vectors")


def _embedded(fixtures: Fixtures, texts: Any, arguments: dict[str, Any], scratch: Path) -> None:
    """What comes out has a row for each text, and numbers in it."""
    del scratch
    with c2llm_lite.load(fixtures.bundle(GGUF), threads=1) as model:
        found = model.embed(texts, **arguments)
        one = isinstance(texts, str)
        rows = 1 if one else len(list(texts))
        if found.shape[:-1] != (() if one else (rows,)) or not np.isfinite(found).all():
            raise DifferentError(f"vectors of shape {found.shape}")
        if not arguments and not one and rows > 1:
            alone = np.stack([model.embed(str(text)) for text in list(texts)[:3]])
            if not np.allclose(found[:3], alone, atol=TOLERANCE):
                raise DifferentError("other vectors")


def _tokens(fixtures: Fixtures, target: str, ids: Any, scratch: Path) -> None:
    """Ids of the model are run; others, and those that are no whole numbers, are refused."""
    del scratch
    with c2llm_lite.load(fixtures.bundle(target), threads=1, cache=False) as model:
        found = model.embed_tokens(ids)
    if any(isinstance(token, float) and token != int(token) for row in ids for token in row):
        raise DifferentError("ids that are no whole numbers are run")
    if any(len(row) > model.max_tokens for row in ids):
        raise DifferentError("more ids than max_tokens are run")
    if len(found) != len(ids):
        raise DifferentError(f"{len(found)} vectors for {len(ids)} rows")


def _folders(fixtures: Fixtures) -> Iterator[Case]:
    odd = ("", "\0", "/dev/null", "/dev/zero", "/", "x" * 5000, "\ud800", "~", "none")
    calls: dict[str, Callable[[Any, Path], object]] = {
        "load": lambda value, scratch: c2llm_lite.load(value, threads=1),
        "verify": lambda value, scratch: verify(value, threads=1),
        "convert": lambda value, scratch: convert(value, scratch / "bundle", GGUF),
        "convert to": lambda value, scratch: convert(fixtures.checkpoint, value, GGUF),
        "list_targets": lambda value, scratch: list_targets(value),
        "embed_file": lambda value, scratch: _file(fixtures, "out.npy", {"source": value}, scratch),
        "Index of": lambda value, scratch: Index(model(), value).close(),
        "Index at": lambda value, scratch: Index(model(), scratch, index=value).close(),
        "Index.like": lambda value, scratch: _index(model(), scratch).like(value, 1),
    }
    for name, call in calls.items():
        for value in odd:
            if name == "convert to" and value in ("none", "/", "~"):
                continue
            yield Case(f"{name}({short(value)})", partial(_called, call, value))
    for value in ("", "x", "gguf", "gguf:", "gguf:x", ":q8_0", "gguf:q8_0:x", "\ud800", "openvino:x", "x" * 10**6):
        yield Case(f"convert(target={short(value)})", partial(_target, fixtures, value))


def _called(call: Callable[[Any, Path], object], value: Any, scratch: Path) -> None:
    call(value, scratch)


def _target(fixtures: Fixtures, value: Any, scratch: Path) -> None:
    convert(fixtures.checkpoint, scratch / "bundle", value)


def _others(fixtures: Fixtures) -> Iterator[Case]:
    """embed_file and the index."""
    for rows in (0, -1, 1.5, 2**63):
        yield Case(f"embed_file(part_rows={short(rows)})", partial(_file, fixtures, "out.npy", {"part_rows": rows}))
    for output in ("out", "out.x", "", ".npy", "a/b/c.npy", "\0.npy", "x" * 300 + ".npy"):
        yield Case(f"embed_file to {short(output)}", partial(_file, fixtures, output, {}))
    for field in (None, "x", 5, "\ud800"):
        yield Case(f"embed_file(field={short(field)})", partial(_file, fixtures, "out.npy", {"field": field}))
    for count in (0, -1, 1.5, 2**31, 2**63, 10**30):
        yield Case(f"Index.search(count={short(count)})", partial(_search, fixtures, {"count": count}))
    for name in ("languages", "paths"):
        for words in ("x", ["x"], [""], ["\ud800"], ["["], ["[z-a]"]):
            yield Case(f"Index.search({name}={short(words)})", partial(_search, fixtures, {name: words}))
    for threshold in (0, 1, 2, -1, float("nan"), 1e-9):
        yield Case(f"Index.duplicates({short(threshold)})", partial(_duplicates, fixtures, threshold))


def _file(fixtures: Fixtures, output: str, arguments: dict[str, Any], scratch: Path) -> None:
    texts = scratch / "texts.jsonl"
    texts.write_text('{"text": "x"}\n' * 3)
    with c2llm_lite.load(fixtures.bundle(GGUF), threads=1) as model:
        written = embed_file(model, **({"source": texts, "output": scratch / output} | arguments))
    if "source" not in arguments and written.rows != 3:
        raise DifferentError(f"{written.rows} rows")


def _index(model: Embedder, scratch: Path) -> Index:
    (scratch / "tree").mkdir()
    (scratch / "tree" / "x.py").write_text("def f(x):\n    return x\n")
    index = Index(model, scratch / "tree", index=scratch / "index")
    index.update()
    return index


def _search(fixtures: Fixtures, arguments: dict[str, Any], scratch: Path) -> None:
    with c2llm_lite.load(fixtures.bundle(GGUF), threads=1) as model, _index(model, scratch) as index:
        index.search("x", **arguments)


def _duplicates(fixtures: Fixtures, threshold: Any, scratch: Path) -> None:
    with c2llm_lite.load(fixtures.bundle(GGUF), threads=1) as model, _index(model, scratch) as index:
        index.duplicates(threshold)
