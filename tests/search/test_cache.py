"""`c2llm-lite cache` lists what lies in the user's cache folder, and deletes what is of no use any more."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from c2llm_lite.cache import compiled
from c2llm_lite.cli import app
from c2llm_lite.search import Index
from c2llm_lite.search.cache import default_place
from c2llm_lite.search.database import DATABASE, LOCK


def run(*arguments: str) -> Any:
    done = CliRunner().invoke(app, ["cache", *arguments])
    assert done.exit_code == 0, done.output
    return done


def listed(*arguments: str) -> dict[str, Any]:
    return {row["of"]: row for row in map(json.loads, run(*arguments, "--json").stdout.splitlines())}


@pytest.fixture
def place(new_model: Any, tree: Path) -> Path:
    """The index of the folder, where it is kept by default."""
    with Index(new_model(), tree) as index:
        index.update()
    return default_place(tree, new_model().bundle.sha256)


def last_used(path: Path, days: float) -> None:
    then = time.time() - days * 86_400
    os.utime(path, (then, then))


def test_an_empty_cache() -> None:
    assert "0 kept, 0.0 MiB; 0 removed" in run().stderr


def test_indexes_and_graphs_are_listed(place: Path, tree: Path) -> None:
    graphs = compiled("a" * 64)
    assert graphs is not None
    graphs.mkdir(parents=True)
    (graphs / "openvino.blob").write_bytes(b"x" * (2 << 20))
    rows = listed()
    assert rows[str(tree)]["kind"] == "index"
    assert rows[str(tree)]["place"] == str(place)
    assert rows[str(tree)]["bytes"] == sum(path.stat().st_size for path in place.iterdir())
    assert rows["bundle " + "a" * 16]["bytes"] == 2 << 20
    printed = run().stdout
    assert f"graph  2.0 MiB  {time.strftime('%Y-%m-%d')}  bundle aaaaaaaaaaaaaaaa  {graphs}" in printed
    assert not any(row["removed"] for row in listed("--prune").values())


def test_prune_deletes_indexes_of_folders_that_are_gone(place: Path, tree: Path) -> None:
    shutil.rmtree(tree)
    assert "the folder is gone" in run().stdout
    assert listed("--prune")[str(tree)]["removed"]
    assert not place.exists()


def test_prune_deletes_what_was_not_used_for_long(new_model: Any, place: Path, tree: Path) -> None:
    last_used(place, 89)
    assert not listed("--prune")[str(tree)]["removed"]
    last_used(place, 91)
    with Index(new_model(), tree):
        pass  # to open it is a use
    assert not listed("--prune")[str(tree)]["removed"]
    last_used(place, 91)
    graphs = compiled("a" * 64)
    assert graphs is not None
    graphs.mkdir(parents=True)
    last_used(graphs, 91)
    assert [row["removed"] for row in listed("--prune").values()] == [True, True]
    assert not place.exists()
    assert not graphs.exists()


def test_an_index_that_is_being_written_stays(place: Path, tree: Path) -> None:
    shutil.rmtree(tree)
    other = sqlite3.connect(place / LOCK, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert not listed("--prune")[str(tree)]["removed"]
    other.close()
    assert listed("--prune")[str(tree)]["removed"]


def test_a_damaged_index_is_listed_and_its_message_names_what_to_delete(place: Path, tree: Path) -> None:
    (place / DATABASE).write_bytes(b"junk" * 4096)
    (place / LOCK).write_bytes(b"junk" * 4096)
    assert listed()["unknown folder"]["place"] == str(place)
    last_used(place, 91)
    assert listed("--prune")["unknown folder"]["removed"]


def test_without_a_home_the_message_names_index(model: Any, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError()))
    with pytest.raises(OSError, match=r"no home folder.*name a folder for it with --index"):
        Index(model, tree)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tree / "files.py" / "no"))
    monkeypatch.setenv("LOCALAPPDATA", str(tree / "files.py" / "no"))
    with pytest.raises(OSError, match=r"cannot create the index .*--index") as told:
        Index(model, tree)
    assert "\n" not in str(told.value)
