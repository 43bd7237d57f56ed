"""Imports run one way: each room may import only the rooms that ROOMS gives it, and no two modules import each other.

Imports in a function's body count too, except in the command line, which loads what a command needs when it runs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
RUNTIME = {
    "errors": set(),
    "arguments": {"errors"},
    "pma": set(),
    "machine": set(),
    "cpu": set(),
    "child_process": set(),
    "cache": {"errors"},
    "progress": set(),
    "vectors": {"errors", "pma"},
    "packing": set(),
    "durable": {"errors"},
    "jsonl": {"errors", "arguments"},
    "typed_json": {"errors"},
    "bundle": {"errors", "arguments", "files", "pma", "typed_json", "durable"},
    "signature": {"errors", "arguments", "bundle", "durable", "files"},
    "tokenizer_check": {"errors", "cache"},
    "text": {"errors", "tokenizer_check"},
    "float32_tensors": {"errors", "pma"},
    "head_file": {"errors", "bundle", "pma", "float32_tensors"},
    "blas": {"errors"},
    "forks": {"errors"},
    "openmp": set(),
    "files": set(),
    "token_embeddings": {"errors", "bundle", "pma"},
    "engines": {"errors", "pma", "bundle", "packing", "token_embeddings", "cpu", "durable", "machine", "openmp"},
}
CORE = set(RUNTIME)
ROOMS: dict[str, set[str]] = RUNTIME | {
    "embedder": CORE,
    "verify": CORE | {"embedder"},
    "doctor": CORE | {"embedder", "verify"},
    "bulk": CORE | {"embedder"},
    "search": CORE | {"embedder"},
    "serve": CORE | {"embedder"},
    "integrations": CORE | {"embedder", "bulk"},
    "offline": set(),
    "": {"embedder", "offline"},
    "__main__": {"cli"},
}
BELOW = CORE | {"embedder", "verify"}  # what conversion may use of the runtime
for name, floor in {
    "convert.checkpoint": (),
    "convert.reference": ("checkpoint",),
    "convert.proof": ("checkpoint", "reference"),
    "convert.calibrate": ("checkpoint", "reference", "proof"),
    "convert.targets": ("checkpoint", "reference", "proof", "calibrate"),
    "convert.standin": ("checkpoint",),
    "convert.head": ("checkpoint", "proof", "calibrate"),
    "convert": ("checkpoint", "reference", "proof", "calibrate", "targets", "head"),
    "convert.depth": ("checkpoint", "reference", "calibrate", "targets"),
}.items():
    ROOMS[name] = BELOW | {f"convert.{room}" for room in floor}
ROOMS["convert.depth"] |= {"convert"}  # which it runs at several depths
ROOMS["convert.calibrate"] |= {"search"}  # which cuts a source tree into definitions
ROOMS["cli"] = set(ROOMS) - {"__main__"} | {"benchmarks.bench"}
SHIPPED = set(ROOMS)
ROOMS |= {
    "benchmarks": set(),
    "benchmarks.bench": SHIPPED - {"cli"},
    "benchmarks.lab": SHIPPED - {"cli"} | {"benchmarks.bench"},
    "benchmarks.standin": SHIPPED - {"cli"} | {"benchmarks.bench"},
}
SPLIT = ("convert", "benchmarks")  # rooms whose folders are rooms


def modules() -> dict[str, Path]:
    """Every module of the package, by its name below c2llm_lite."""
    found = {}
    for folder in ("c2llm_lite", *SPLIT):
        for path in (TOP / folder).rglob("*.py"):
            parts = list(path.relative_to(TOP / "c2llm_lite" if folder == "c2llm_lite" else TOP).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] in SPLIT else parts[0]


def imports(module: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The package's own modules that a module imports."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "c2llm_lite"]
            yield from (name.removeprefix("c2llm_lite").removeprefix(".") for name in names)
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if package else []
            start = ".".join([*base, *([node.module] if node.module else [])])
        elif node.module and node.module.split(".")[0] == "c2llm_lite":
            start = node.module.removeprefix("c2llm_lite").removeprefix(".")
        else:
            continue
        for alias in node.names:
            inner = f"{start}.{alias.name}".removeprefix(".")
            yield inner if inner in known else start


def wrong_arrows(known: dict[str, Path]) -> list[str]:
    found = []
    for module, path in sorted(known.items()):
        here = room(module)
        for other in sorted(set(imports(module, path, known))):
            there = room(other)
            if there != here and there not in ROOMS[here]:
                found.append(f"{module} imports {other}: {here or 'c2llm_lite'} may not import {there}")
    return found


def circle(known: dict[str, Path]) -> list[str]:
    """Modules that import one another in a circle, the first again at the end; none if there is no circle."""
    arrows = {module: set(imports(module, path, known)) - {module} for module, path in known.items()}
    done: set[str] = set()

    def walk(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        for other in sorted(arrows.get(module, ())):
            # A package's own __init__ is imported with each of its modules.
            if not module.startswith(f"{other}.") and (found := walk(other, [*way, module])):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(arrows) if (found := walk(module, []))), [])


def test_every_room_is_on_the_map() -> None:
    assert {room(module) for module in modules()} <= set(ROOMS)


def test_imports_run_one_way() -> None:
    assert wrong_arrows(modules()) == []


def test_no_modules_import_each_other() -> None:
    assert circle(modules()) == []


@pytest.mark.parametrize(
    ("module", "line", "told"),
    [
        ("pma", "from . import embedder", "pma may not import embedder"),
        ("embedder", "from .convert import convert", "embedder may not import convert"),
        ("convert.reference", "from .targets import registry", "convert.reference may not import convert.targets"),
        ("convert.calibrate.gptq", "from ..targets import gguf", "convert.calibrate may not import convert.targets"),
        ("benchmarks.bench.run", "from ..lab import peers", "benchmarks.bench may not import benchmarks.lab"),
        ("search.index", "import c2llm_lite.serve.queue", "search may not import serve"),
    ],
)
def test_a_wrong_arrow_is_found(tmp_path: Path, module: str, line: str, told: str) -> None:
    known = modules()
    changed = tmp_path / known[module].name
    changed.write_text(f"{known[module].read_text(encoding='utf-8')}\n{line}\n")
    assert any(told in found for found in wrong_arrows(known | {module: changed}))


def test_a_circle_is_found(tmp_path: Path) -> None:
    known = modules()
    changed = tmp_path / "bundle.py"
    changed.write_text(f"{known['bundle'].read_text(encoding='utf-8')}\ndef late():\n    from .embedder import load\n")
    assert circle(known | {"bundle": changed})


def test_files_are_short() -> None:
    lines = {module: path.read_text(encoding="utf-8").count("\n") for module, path in modules().items()}
    assert {module: count for module, count in lines.items() if count > 300} == {}
    tests = {path.name: path.read_text(encoding="utf-8").count("\n") for path in (TOP / "tests").rglob("*.py")}
    assert {name: count for name, count in tests.items() if count > 400} == {}
