"""pyproject.toml's requirements: a pin or an upper bound has its reason above it, the others a lower bound."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

LINES = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8").splitlines()
BEGIN = LINES.index("dependencies = [")
END = LINES.index("[project.scripts]")
REQUIREMENT = re.compile(r'"([\w-]+)(?:\[\w+\])?((?:[<>=]=?)[^"]*)?"')


def requirements(lines: list[str]) -> list[tuple[int, str, str]]:
    """Each requirement's line, name and bounds; without this package's own extras."""
    found = []
    for number, line in enumerate(lines):
        if not line.lstrip().startswith("#"):
            found += [(number, name, bounds) for name, bounds in REQUIREMENT.findall(line) if name != "c2llm-lite"]
    return found


def without_reason(lines: list[str]) -> list[str]:
    return [
        name
        for number, name, bounds in requirements(lines)
        if ("==" in bounds or "<" in bounds) and not lines[number - 1].lstrip().startswith("#")
    ]


def test_each_pin_has_its_reason() -> None:
    assert without_reason(LINES[BEGIN:END]) == []


def test_each_requirement_is_bounded_from_below() -> None:
    unbounded = [name for _, name, bounds in requirements(LINES[BEGIN:END]) if not re.match(r"(>=|==)\d", bounds)]
    assert unbounded == []


@pytest.mark.parametrize("line", ['x = ["mteb>=2,<3"]', 'x = ["networkx==3.6.1"]'])
def test_a_pin_without_reason_is_found(line: str) -> None:
    assert without_reason(["y = []", line]) != []
