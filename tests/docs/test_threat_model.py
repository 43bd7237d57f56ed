"""Each claim of docs/threat-model.md names a test, and that test exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

CRAFTED = {  # areas of the campaign: what the page calls their cases
    "manifest": "manifests",
    "gguf": "GGUF files",
    "tokenizer": "tokenizers",
    "arrays": "arrays",
    "openvino": "OpenVINO graphs and weights",
    "torch": "weights for PyTorch",
}
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


def test_the_counts_are_the_kept_ones() -> None:
    page = " ".join((TOP / "docs" / "threat-model.md").read_text(encoding="utf-8").split())
    areas = json.loads((TOP / "benchmarks" / "results" / "hostile.json").read_text())["runs"]["after"]["areas"]
    cases = {area: sum(found["counts"].values()) for area, found in areas.items()}
    for area, words in CRAFTED.items():
        assert f"{cases[area]:,} {words}" in page, area
    crafted, damaged = sum(cases[area] for area in CRAFTED), cases["damage"]
    assert f"{crafted + damaged:,} are bundles. Hashes are right and contents wrong in {crafted:,}" in page
    assert f"{damaged:,} damaged files" in page
    assert f"the {sum(cases.values()):,} cases" in page


def test_a_row_is_read() -> None:
    assert named_tests("| claim | test |\n|---|---|\n| x | `a.py::test_b`, `::test_c` |\n| y | none |\n") == [
        ["a.py::test_b", "a.py::test_c"],
        [],
    ]
