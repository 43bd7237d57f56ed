"""Each claim of docs/threat-model.md names a test, and that test exists."""

from __future__ import annotations

import re
from pathlib import Path

TOP = Path(__file__).parents[2]
ROW = re.compile(r"^\| (?!claim|---)(.+) \| (.+) \|$", re.MULTILINE)


def named_tests(page: str) -> list[list[str]]:
    """The tests of each row, `::name` being in the file named before it."""
    found = []
    for _, cell in ROW.findall(page):
        path, tests = "", []
        for name in re.findall(r"`([^`]*::\w+)`", cell):
            path = name.partition("::")[0] or path
            tests.append(f"{path}::{name.partition('::')[2]}")
        found.append(tests)
    return found


def test_every_claim_names_tests_that_exist() -> None:
    rows = named_tests((TOP / "docs" / "threat-model.md").read_text(encoding="utf-8"))
    assert len(rows) > 20
    for tests in rows:
        assert tests
        for test in tests:
            path, _, name = test.partition("::")
            assert f"def {name}(" in (TOP / path).read_text(encoding="utf-8"), test


def test_a_row_is_read() -> None:
    assert named_tests("| claim | test |\n|---|---|\n| x | `a.py::test_b`, `::test_c` |\n| y | none |\n") == [
        ["a.py::test_b", "a.py::test_c"],
        [],
    ]
