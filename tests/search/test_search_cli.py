"""The search commands from a user's view."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from c2llm_lite.cli import app
from c2llm_lite.search import on_demand
from c2llm_lite.search.database import DATABASE, LOCK


def objects(printed: str) -> list[Any]:
    """What --json prints: an object a line."""
    return [json.loads(line) for line in printed.splitlines()]


@pytest.fixture
def run(f32_bundle: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tree)

    def run(command: str, *arguments: Any) -> Any:
        words = [command, f32_bundle, tree, "--index", tmp_path / "index", "--threads", 1, *arguments]
        return CliRunner().invoke(app, [str(word) for word in words])

    return run


def test_search_prints_places_symbols_scores_and_code(run: Any) -> None:
    done = run("search", "read a jsonl file", "-k", 20)
    assert done.exit_code == 0, done.output
    assert "files.py:4  read_jsonl  0." in done.stdout
    assert "def read_jsonl(path):" in done.stdout
    assert "4 files" in done.stderr
    again = run("search", "read a jsonl file")
    assert again.stderr == ""  # nothing changed


def test_what_the_code_holds_does_not_steer_the_terminal(run: Any, tree: Path) -> None:
    (tree / "files.py").write_text("def clear():\n    print('\x1b[2J')\n")
    done = run("search", "clear", "--lang", "python", "-k", 20)
    assert "[2J" in done.stdout
    assert "\x1b" not in done.stdout


def test_search_json_and_filters(run: Any) -> None:
    found = objects(run("search", "anything", "--json").stdout)
    assert {hit["path"] for hit in found} == {"files.py", "shapes/circle.py", "stack.go", "notes.md"}
    assert set(found[0]) == {"path", "line", "end", "symbol", "language", "score", "code", "also"}
    only = objects(run("search", "anything", "--lang", "go", "--lang", "text", "--json").stdout)
    assert {hit["path"] for hit in only} == {"stack.go", "notes.md"}
    below = objects(run("search", "anything", "--path", "shapes/", "--json").stdout)
    assert {hit["path"] for hit in below} == {"shapes/circle.py"}


def test_like(run: Any) -> None:
    found = objects(run("search", "--like", "files.py:5", "--json").stdout)
    assert found
    assert "read_jsonl" not in [hit["symbol"] for hit in found]


def test_index_says_what_it_did(run: Any, tree: Path, tmp_path: Path) -> None:
    (tree / "blob.bin").write_bytes(b"\0")
    (tree / "latin.py").write_bytes(b"x = 'caf\xe9'\n")
    done = run("index")
    assert done.exit_code == 0, done.output
    assert "5 files" in done.stderr
    assert "skipped: 1 binary" in done.stderr
    assert "not UTF-8" in done.stderr
    assert "latin.py" in done.stderr
    assert str(tmp_path / "index") in done.stderr.replace("\n", "")
    assert (tmp_path / "index" / DATABASE).is_file()
    data = json.loads(run("index", "--json").stdout)
    assert (data["files"], data["changed"], data["skipped"]) == (5, 0, {"binary": 1})


def test_duplicates(run: Any, tree: Path) -> None:
    body = "".join(f"    step_{i}()\n" for i in range(6))
    (tree / "one.py").write_text(f"def one():\n{body}")
    (tree / "two.py").write_text(f"def one():\n{body}")
    done = run("duplicates", "--threshold", "0.999")
    assert done.exit_code == 0, done.output
    assert "1.000  one.py:1  one  two.py:1  one" in done.stdout
    pairs = objects(run("duplicates", "--threshold", "0.999", "--json").stdout)
    assert pairs[0]["first"]["path"] == "one.py"


def test_search_continues_with_what_there_is_while_another_writes(run: Any, tree: Path, tmp_path: Path) -> None:
    assert run("index").exit_code == 0
    other = sqlite3.connect(tmp_path / "index" / LOCK, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    done = run("search", "anything")
    other.close()
    assert done.exit_code == 0, done.output
    assert "searching its current content" in done.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a QUERY in words, or --like FILE:LINE"),
        (["words", "--like", "files.py:1"], "a QUERY in words, or --like FILE:LINE"),
        (["--like", "files.py"], "is not FILE:LINE"),
        (["--like", "files.py:²"], "is not FILE:LINE"),
    ],
)
def test_wrong_use_is_reported(run: Any, arguments: list[str], message: str) -> None:
    done = run("search", *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_nothing_found_is_its_own_exit_code(run: Any) -> None:
    done = run("search", "anything", "--path", "nowhere/")
    assert done.exit_code == 3
    assert "nothing found" in done.stderr
    assert run("search", "anything", "--path", "nowhere/", "--json").exit_code == 3


def test_places_are_relative_to_the_current_folder(run: Any, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.parent)
    assert "tree/files.py:4  read_jsonl  " in run("search", "read_jsonl", "-k", 1).stdout
    monkeypatch.chdir(tree / "shapes")
    (tree / "again.md").write_text((tree / "notes.md").read_text())
    hit = objects(run("search", "quick brown fox", "-k", 1, "--json").stdout)[0]
    assert (hit["path"], hit["also"]) == ("../again.md", ["../notes.md:1"])
    hit = objects(run("search", "--like", "circle.py:8", "-k", 1, "--json").stdout)[0]
    assert hit["path"] == "circle.py"


def test_a_lexical_search_loads_no_engine(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_demand, "load", lambda *arguments, **options: pytest.fail("loaded"))
    done = run("search", "jsonl", "--mode", "lexical")
    assert done.exit_code == 0, done.output
    assert "read_jsonl" in done.stdout
    assert "vectors" not in done.stderr
    assert "0 texts embedded" in done.stderr


def test_a_first_search_says_how_much_is_embedded(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["c2llm_lite.cli.search"], "FIRST_ANSWER_SECONDS", 0.0)
    done = run("search", "read_jsonl")
    assert done.exit_code == 0, done.output
    assert "files.py:4  read_jsonl  " in done.stdout
    assert "vectors: 0% of 6 pieces; --wait, or the command index, embeds the rest" in done.stderr
    assert "vectors" not in run("search", "read_jsonl", "--wait").stderr


def test_include_and_exclude(run: Any) -> None:
    assert "1 files" in run("index", "--include", "*.py", "--exclude", "shapes/").stderr
