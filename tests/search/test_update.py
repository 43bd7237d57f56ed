"""What an update reads again, how long it embeds, and what it keeps of files that are gone."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from c2llm_lite.errors import ArgumentError
from c2llm_lite.search import Index, database, texts
from c2llm_lite.search import look as looking
from c2llm_lite.search import update as updating
from c2llm_lite.search.database import DATABASE
from c2llm_lite.search.read import MAX_BYTES

HOUR = 3600


@pytest.fixture
def settled(tree: Path) -> Path:
    """The folder, with files that were last changed an hour ago."""
    (tree / "blob").write_bytes(b"\0")
    for path in tree.rglob("*"):
        if path.is_file():
            age(path)
    return tree


@pytest.fixture
def index(model: Any, settled: Path, tmp_path: Path) -> Any:
    with Index(model, settled, index=tmp_path / "index") as opened:
        opened.update()
        yield opened


def age(path: Path, seconds: float = HOUR) -> None:
    now = time.time()
    os.utime(path, (now - seconds, now - seconds))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files that were read to be compared."""
    names: list[str] = []
    original = looking.read_bytes

    def read_bytes(path: Path) -> bytes:
        names.append(path.name)
        return original(path)

    monkeypatch.setattr(looking, "read_bytes", read_bytes)
    return names


# What is read.


def test_only_files_that_look_different_are_read(index: Index, settled: Path, read: list[str]) -> None:
    assert index.update().skipped == {"binary": 1}
    assert read == []
    age(settled / "files.py", 2 * HOUR)  # another time, and the same content
    shutil.copyfile(settled / "notes.md", settled / "copy.md")
    (settled / "copy.md").replace(settled / "notes.md")  # another inode
    assert index.update().changed == 0
    assert sorted(read) == ["files.py", "notes.md"]
    (settled / "blob").write_text("now it is text\n")
    assert index.update().changed == 1
    read.clear()
    assert index.update(verify=True).changed == 0
    assert sorted(read) == ["blob", "circle.py", "files.py", "notes.md", "stack.go"]


def test_an_update_without_a_change_writes_nothing(new_model: Any, index: Index, settled: Path) -> None:
    with Index(new_model(), settled, index=index.place) as other:
        with other._store.reading() as before:
            pass
        index.update()
        with other._store.reading() as after:
            assert after == before
        (settled / "new.py").write_text("x = 1\n")
        index.update()
        with other._store.reading() as after:
            assert after != before


def test_a_file_changed_within_the_last_seconds_is_read_again(index: Index, settled: Path, read: list[str]) -> None:
    """A second change may leave the same time."""
    path = settled / "files.py"
    path.write_text("def one():\n    return 1\n")
    status = path.stat()
    index.update()
    path.write_text("def two():\n    return 2\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert index.update().changed == 1
    assert index.search("two", mode="lexical")


def test_verify_finds_what_looks_the_same(index: Index, settled: Path) -> None:
    path = settled / "files.py"
    status = path.stat()
    path.write_bytes(path.read_bytes().replace(b"jsonl", b"jsonk"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert index.update().changed == 0
    assert index.update(verify=True).changed == 1
    assert index.search("jsonk", mode="lexical")


def test_other_rules_of_splitting_read_all_files(
    index: Index, settled: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("c2llm_lite.search.store.CUTTING", 99)
    index.update()
    assert len(read) == 5
    index.update()
    assert len(read) == 5


def test_what_is_not_code_costs_nothing_and_is_told(model: Any, index: Index, settled: Path) -> None:
    (settled / "package-lock.json").write_text("{}")
    (settled / "wide.py").write_text("WIDE = (\n" + "    (0x300, 0x36f),\n" * 400 + ")\n")
    (settled / "env").mkdir()
    (settled / "env" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (settled / "large.md").write_text("word\n" * (MAX_BYTES // 5 + 1))
    done = index.update()
    assert done.skipped_paths == {
        "binary": ["blob"],
        "lock file": ["package-lock.json"],
        "virtual environment": ["env/"],
    }
    assert done.tables > 10
    assert done.truncated == ["large.md"]
    assert len([hit for hit in index.search("wide", count=100) if hit.path == "wide.py"]) == 1


def test_excluded_files_are_removed(index: Index, settled: Path) -> None:
    assert index.update(exclude=["shapes/"], include=["*.py", "*.go"]).removed == 2
    assert {hit.path for hit in index.search("anything", count=100, mode="semantic")} == {"files.py", "stack.go"}
    with pytest.raises(ArgumentError, match="exclude is 'a': give a list"):
        index.update(exclude="a")


# What is embedded, and when.


def test_words_are_ready_before_anything_is_embedded(model: Any, settled: Path, tmp_path: Path) -> None:
    with Index(model, settled, index=tmp_path / "index") as index:
        done = index.update(seconds=0)
        assert (done.files, done.changed, done.embedded, done.without_vector) == (4, 4, 0, done.pieces)
        assert model.texts == []
        assert index.coverage() == (0, done.pieces)
        hits = index.search("read jsonl")
        assert hits[0].symbol == "read_jsonl"
        assert index.search("read jsonl", mode="semantic") == []
        assert index.duplicates(0.5) == []
        assert index.update().embedded == done.pieces
        assert index.search("quick brown fox", mode="semantic", count=1)[0].path == "notes.md"


def test_embedding_ends_after_the_given_seconds(
    new_model: Any, settled: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(updating, "FIRST_CHARACTERS", 1)
    monkeypatch.setattr(updating, "MOST_CHARACTERS", 1)
    with Index(new_model(seconds=0.2), settled, index=tmp_path / "index") as index:
        done = index.update(seconds=0.3)
        # The first, which waits for the engine, and two in 0.3 s; or one, if the machine was busy elsewhere.
        assert done.embedded in (2, 3)
        assert done.without_vector == done.pieces - done.embedded
        hits = index.search("quick brown fox", count=10)
        assert hits[0].path == "notes.md"
        assert index.coverage() == (done.embedded, done.pieces)


def test_progress_is_kept_inside_a_large_file(
    new_model: Any, settled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updating, "FIRST_CHARACTERS", 400)
    monkeypatch.setattr(updating, "MOST_CHARACTERS", 400)
    functions = "".join(f"def function_{i}(path):\n    return open(path).read({i})\n\n\n" for i in range(100))
    (settled / "large.py").write_text(functions)
    embedded = 0
    for _ in range(100):
        model, calls = new_model(), []
        embed = model.embed

        def killed(read: Any, embed: Any = embed, calls: list[Any] = calls, **options: Any) -> Any:
            calls.append(read)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return embed(read, **options)

        monkeypatch.setattr(model, "embed", killed)
        with Index(model, settled, index=tmp_path / "index") as index:
            try:
                done = index.update()
            except KeyboardInterrupt:
                now, _ = index.coverage()
                assert now > embedded
                embedded = now
            else:
                assert done.without_vector == 0
                assert embedded > 90
                return
    pytest.fail("it never ends")


def test_what_was_changed_lately_is_embedded_first_and_then_what_is_small(
    model: Any, settled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updating, "MOST_CHARACTERS", 1)
    for path, days in {"notes.md": 3, "files.py": 1, "stack.go": 3, "shapes/circle.py": 9}.items():
        age(settled / path, days * 24 * HOUR)
    with Index(model, settled, index=tmp_path / "index") as index:
        index.update()
    order = ["def read_jsonl", "def write_text", "# Notes", "// Push", "class Circle", "def area"]
    assert [text.lstrip()[: len(begin)] for text, begin in zip(model.texts, order, strict=True)] == order


# What is kept of files that are gone.


def test_a_branch_there_and_back_embeds_nothing_twice(model: Any, index: Index, settled: Path) -> None:
    kept = (settled / "notes.md").read_text()
    (settled / "notes.md").write_text("Another branch.\n")
    index.update()
    embedded = len(model.texts)
    (settled / "notes.md").write_text(kept)
    assert index.update().embedded == 0
    assert len(model.texts) == embedded
    assert index.search("quick brown fox", count=1)[0].path == "notes.md"


def held(index: Index) -> int:
    return index._store.counts()["texts"]


def test_unused_texts_are_dropped_after_30_days(index: Index, settled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts_held = held(index)
    (settled / "notes.md").unlink()
    index.update()
    assert held(index) == texts_held
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + texts.DAYS * 24 * HOUR - HOUR)
    index.update()
    assert held(index) == texts_held
    monkeypatch.setattr(time, "time", lambda: now + texts.DAYS * 24 * HOUR + HOUR)
    index.update()
    assert held(index) == texts_held - 1


def test_unused_texts_are_at_most_a_third(index: Index, settled: Path) -> None:
    used = held(index)
    for number in range(2 * used):
        (settled / "notes.md").write_text(f"Version {number} of the notes.\n")
        index.update()
    assert held(index) == used + used // 2
    unused = "SELECT texts.text FROM texts JOIN unused ON unused.text = texts.id ORDER BY id"
    assert index._store.connection.execute(unused).fetchall()[-1][0] == f"Version {2 * used - 2} of the notes."


# Where it lives.


def test_without_a_write_ahead_log_it_works_and_says_so(
    new_model: Any, settled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    place = tmp_path / "index"
    connect = sqlite3.connect

    def without_shared_memory(database: Any, **options: Any) -> sqlite3.Connection:
        if Path(database).name != DATABASE:
            return connect(database, **options)
        return connect(f"{Path(database).as_uri()}?vfs=unix-dotfile", **options | {"uri": True})

    with Index(new_model(), settled, index=place) as index:
        index.update()
        right = index.search("read jsonl path")
    monkeypatch.setattr(database.sqlite3, "connect", without_shared_memory)
    for _ in range(2):
        with Index(new_model(), settled, index=place) as index, Index(new_model(), settled, index=place) as other:
            (settled / "new.py").write_text("def brand_new():\n    return 1\n")
            assert index.update().files == 5
            assert other.search("brand_new", count=1)[0].path == "new.py"
            (settled / "new.py").unlink()
            index.update()
            assert other.search("read jsonl path") == right
    assert "SQLite cannot write ahead on this file system" in caplog.text
    assert "--index" in caplog.text


def test_an_index_that_can_be_written_ahead_says_nothing(index: Index, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING):
        index.search("jsonl")
    assert caplog.text == ""
