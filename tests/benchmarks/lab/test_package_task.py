"""A package's functions as a task that `bench` takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from c2llm_lite.benchmarks.bench import data
from c2llm_lite.benchmarks.lab import package_task
from c2llm_lite.errors import MissingDependencyError, OutputError


def test_a_package_becomes_a_task(tmp_path: Path) -> None:
    pytest.importorskip("networkx")
    pairs = package_task.chosen("networkx", 12)
    package_task.main("networkx", tmp_path / "networkx", 12)
    task = data.task(str(tmp_path / "networkx"))
    assert len(task.queries) == len(task.documents) == 12
    assert all(grades == {query: 1} for query, grades in task.relevant.items())
    assert {pair.query for pair in pairs} == set(task.queries.values())
    assert pairs == package_task.chosen("networkx", 12)
    with pytest.raises(OutputError, match="exists"):
        package_task.main("networkx", tmp_path / "networkx", 12)


def test_the_held_out_pairs_are_carried_as_they_are(tmp_path: Path) -> None:
    """To a Python whose own library has other texts: by its hash the task is the same."""
    package_task.main("stdlib", tmp_path / "task")
    assert data.task(str(tmp_path / "task")).sha256 == data.task("stdlib").sha256


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(MissingDependencyError, match="no_such_package"):
        package_task.chosen("no_such_package", 1)
