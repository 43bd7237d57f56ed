"""What is shipped can be imported on every system: no module that only Unix has is imported at a module's top."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
UNIX = {"fcntl", "grp", "posix", "pwd", "resource", "syslog", "termios", "tty"}
SHIPPED = [
    path for folder in ("c2llm_lite", "convert", "benchmarks/bench") for path in sorted((TOP / folder).rglob("*.py"))
]


def of_unix(source: str) -> set[str]:
    """The modules of UNIX that a module needs to be imported."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found & UNIX


def test_no_module_of_unix_is_needed() -> None:
    assert {str(path.relative_to(TOP)): of_unix(path.read_text(encoding="utf-8")) for path in SHIPPED} == {
        str(path.relative_to(TOP)): set() for path in SHIPPED
    }


@pytest.mark.parametrize("source", ["import os, resource", "from pwd import getpwuid"])
def test_one_is_found(source: str) -> None:
    assert of_unix(source)
