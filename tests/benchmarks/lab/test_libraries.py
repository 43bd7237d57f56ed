"""The plan of `make test-newest` and the others: lower bounds, Pythons, the table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from c2llm_lite.benchmarks.lab.libraries import plan, pythons, table


def test_lower_bounds_are_pyproject_s() -> None:
    bounds = plan.lower_bounds()
    assert {"numpy", "torch", "transformers", "openvino", "ray", "mteb"} <= set(bounds)
    assert not {"pytest", "ruff", "setuptools", "c2llm-lite"} & set(bounds)
    assert all(bound[0].isdigit() for bound in bounds.values())


def test_the_rooms_are_there() -> None:
    rooms = {room for several in plan.sets().values() for one in several for room in one.rooms}
    assert [room for room in rooms if not (plan.REPOSITORY / "tests" / room).exists()] == []


def test_a_python_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pythons.find("3.11", tmp_path) is None
    (tmp_path / "python3.11").symlink_to(sys.executable)
    found = pythons.find("3.11", tmp_path)
    assert found == pythons.Python(str(tmp_path / "python3.11"))
    assert found.command(["python", "-V"], [tmp_path]) == ["python", "-V"]


def test_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {
        "python-3.9": {"date": "2026-11-28", "outcome": "skipped", "reason": "no Python 3.9 on this machine"},
        "newest-run": {
            "date": "2026-11-28",
            "outcome": "failed",
            "python": "3.11.7",
            "lacking": {"openvino": "ERROR: No matching distribution found for openvino"},
            "versions": {"numpy": "2.4.6", "huggingface_hub": "2.4.0", "other": "1"},
            "bundles": {"gguf:q8_0": "verified"},
            "tests": {"passed": 3, "failed": ["tests.a"], "skipped": {"no GPU": 2}},
        },
    }
    monkeypatch.setattr(table, "RESULTS", tmp_path / "r.json")
    monkeypatch.setattr(table, "TABLE", tmp_path / "r.md")
    table.RESULTS.write_text(json.dumps(rows), encoding="utf-8")
    table.write_table()
    written = table.TABLE.read_text(encoding="utf-8")
    assert "| python-3.9 |  | skipped 2026-11-28: no Python 3.9 on this machine |" in written
    assert (
        "3 passed, 1 failed, 2 skipped | gguf:q8_0 verified | numpy 2.4.6, huggingface-hub 2.4.0 | openvino:" in written
    )
