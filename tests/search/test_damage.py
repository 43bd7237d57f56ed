"""A damaged index is noticed: a search gives the right hits, or says what to delete."""

from __future__ import annotations

import os
import random
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from c2llm_lite.errors import BundleError, OutputError
from c2llm_lite.search import BusyError, Hit, Index
from c2llm_lite.search.database import DATABASE, LOCK

FLIPS = 60
QUERIES = ("read jsonl path", "push an item", "quick brown fox")


@pytest.fixture
def place(model: Any, tree: Path, tmp_path: Path) -> Path:
    """Where a finished index is."""
    with Index(model, tree, index=tmp_path / "index") as index:
        index.update()
    return tmp_path / "index"


def execute(place: Path, *statements: str) -> None:
    connection = sqlite3.connect(place / DATABASE)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def to_format_2(place: Path) -> None:
    """The index as the version that embedded each file before the next wrote it."""
    execute(
        place,
        *(f"ALTER TABLE files DROP COLUMN {column}" for column in ("size", "mtime", "inode")),
        "DROP TABLE skipped",
        "DROP TABLE unused",
        "DROP INDEX texts_pending",
        "DELETE FROM meta WHERE name IN ('cutting', 'folder')",
        "UPDATE meta SET value = '2' WHERE name = 'format'",
    )


def to_format_1(place: Path) -> None:
    """The index as the version before checksums wrote it."""
    to_format_2(place)
    dropped = [f"ALTER TABLE {table} DROP COLUMN crc32" for table in ("files", "texts", "pieces")]
    execute(
        place,
        *dropped,
        "DELETE FROM meta WHERE name LIKE 'rows of %'",
        "UPDATE meta SET value = '1' WHERE name = 'format'",
    )


def rows(place: Path) -> list[list[Any]]:
    """Every row but meta's, with its checksum."""
    connection = sqlite3.connect(place / DATABASE)
    try:
        columns = {"files": "path, digest, language, crc32", "texts": "sha256, text, vector, crc32", "pieces": "*"}
        return [sorted(connection.execute(f"SELECT {names} FROM {table}")) for table, names in columns.items()]
    finally:
        connection.close()


def found(model: Any, tree: Path, place: Path, mode: Any = "hybrid") -> list[list[Hit]]:
    with Index(model, tree, index=place) as index:
        return [index.search(query, mode=mode) for query in QUERIES]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE texts SET text = 'def other(): pass'",
        "UPDATE texts SET sha256 = zeroblob(32) WHERE id = 2",
        "UPDATE texts SET vector = zeroblob(length(vector)) WHERE id = 2",
        "UPDATE texts SET vector = (SELECT vector FROM texts WHERE id = 1) WHERE id = 2",
        "UPDATE texts SET vector = 'text' WHERE id = 2",
        "UPDATE texts SET vector = 5 WHERE id = 2",
        "UPDATE texts SET id = -id",
        "DELETE FROM texts WHERE id = 2",
        "UPDATE pieces SET start = start + 1",
        "UPDATE pieces SET end = 'x'",
        "UPDATE pieces SET symbol = 'other'",
        "UPDATE pieces SET symbol = x'00ff'",
        "UPDATE pieces SET text = 1",
        "UPDATE pieces SET file = 1",
        "UPDATE pieces SET file = 12345",
        "DELETE FROM pieces WHERE rowid = 2",
        "INSERT INTO pieces SELECT * FROM pieces WHERE rowid = 2",
        "UPDATE files SET path = 'x' || path",
        "UPDATE files SET path = x'ff' || id",
        "UPDATE files SET digest = 'x'",
        "UPDATE files SET language = 'x'",
        "DELETE FROM files WHERE id = 2",
        "UPDATE meta SET value = '1' WHERE name = 'format'",
        "UPDATE meta SET value = '0' WHERE name = 'rows of pieces'",
        "DELETE FROM meta WHERE name = 'rows of files'",
    ],
)
def test_a_changed_row_is_noticed(model: Any, tree: Path, place: Path, statement: str) -> None:
    execute(place, statement)
    with pytest.raises(OutputError, match=r"delete the folder"):
        found(model, tree, place)


def test_random_bytes_change_no_result(model: Any, tree: Path, place: Path) -> None:
    right = found(model, tree, place)
    whole = (place / DATABASE).read_bytes()
    noticed = 0
    for number in range(FLIPS):
        draw = random.Random(number)
        damaged = bytearray(whole)
        for _ in range(draw.choice((1, 8, 64))):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        for path in place.iterdir():
            path.unlink()
        (place / DATABASE).write_bytes(damaged)
        try:
            hits = found(model, tree, place)
        except (OutputError, BundleError):
            noticed += 1
        else:
            assert hits == right or not any(hits)
    assert noticed > FLIPS // 4


def test_an_update_notices_damaged_files(model: Any, tree: Path, place: Path) -> None:
    for statement in ("UPDATE files SET path = 'x' || path", "DELETE FROM meta WHERE name = 'rows of files'"):
        execute(place, statement)
        with Index(model, tree, index=place) as index, pytest.raises(OutputError, match="is damaged"):
            index.update()


def test_a_doubled_row_is_noticed(model: Any, tree: Path, place: Path) -> None:
    """As a damaged UNIQUE index lets it happen."""
    execute(
        place,
        "CREATE TABLE doubled AS SELECT * FROM texts",
        "INSERT INTO doubled SELECT id + 1000, sha256, text, vector, crc32 FROM texts WHERE id = 2",
        "DROP TABLE texts",
        "ALTER TABLE doubled RENAME TO texts",
        "UPDATE meta SET value = value + 1 WHERE name = 'rows of texts'",
    )
    with pytest.raises(OutputError, match="a row of texts is there twice"):
        found(model, tree, place)


def test_an_update_does_not_hide_what_was_lost(model: Any, tree: Path, place: Path) -> None:
    execute(place, "DELETE FROM pieces WHERE rowid = 2")
    (tree / "new.py").write_text("def new():\n    return 'new'\n")
    with Index(model, tree, index=place) as index:
        index.update()
        with pytest.raises(OutputError, match=r"pieces has \d+ rows, which is not as many as were written"):
            index.search("a")


def test_a_text_that_is_not_its_hash_is_not_shown(model: Any, tree: Path, place: Path) -> None:
    """Whatever its row's checksum, which is not of the text."""
    execute(place, "UPDATE texts SET text = CAST(x'ff00ff' AS TEXT)")
    with pytest.raises(OutputError, match="delete"):
        found(model, tree, place)


def test_a_junk_lock_file_is_told(model: Any, tree: Path, place: Path) -> None:
    (place / LOCK).write_bytes(b"junk" * 2048)
    with Index(model, tree, index=place) as index:
        with pytest.raises(OutputError, match=r"writer\.lock is damaged .*delete that file") as told:
            index.update()
        assert not isinstance(told.value, BusyError)
        assert index.search("read jsonl path")
        (place / LOCK).unlink()
        index.update()


# Indexes of format 1.


def test_an_index_of_format_2_is_upgraded_and_keeps_its_vectors(new_model: Any, tree: Path, place: Path) -> None:
    right, before = found(new_model(), tree, place), rows(place)
    to_format_2(place)
    assert found(new_model(), tree, place) == right
    model = new_model()
    with Index(model, tree, index=place) as index:
        assert index.update().changed == 0
        assert model.texts == []
    assert (found(model, tree, place), rows(place)) == (right, before)


def test_the_first_update_adds_checksums(new_model: Any, tree: Path, place: Path) -> None:
    right, before = found(new_model(), tree, place), rows(place)
    by_vectors = found(new_model(), tree, place, mode="semantic")
    to_format_1(place)
    assert found(new_model(), tree, place) == by_vectors
    model = new_model()
    with Index(model, tree, index=place) as index, Index(model, tree, index=place) as other:
        assert other.search(QUERIES[0]) == by_vectors[0]
        index.update()
        assert model.texts == []
        assert other.search(QUERIES[0]) == right[0]
    assert rows(place) == before
    assert found(model, tree, place) == right
    execute(place, "UPDATE pieces SET start = start + 1")
    with pytest.raises(OutputError, match="is damaged"):
        found(model, tree, place)


def test_a_read_only_index_of_format_1_is_read(
    model: Any, tree: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = found(model, tree, place, mode="semantic")
    to_format_1(place)
    before = (place / DATABASE).read_bytes()
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    assert found(model, tree, place) == right
    assert (place / DATABASE).read_bytes() == before


def test_checksums_are_not_added_to_a_damaged_index(model: Any, tree: Path, place: Path) -> None:
    to_format_1(place)
    execute(place, "UPDATE texts SET text = 'other' WHERE id = 2")
    with Index(model, tree, index=place) as index, pytest.raises(OutputError, match="is damaged"):
        index.update()
    execute(place, "UPDATE texts SET vector = zeroblob(8) WHERE id = 3", "DELETE FROM files WHERE id = 1")
    with pytest.raises(OutputError, match="is damaged"):
        found(model, tree, place)


def test_counts_are_those_of_the_tables(model: Any, tree: Path, place: Path) -> None:
    (tree / "files.py").unlink()
    (tree / "again.md").write_text((tree / "notes.md").read_text())
    with Index(model, tree, index=place) as index:
        index.update()
        counts = index._store.counts()
        assert {name: value for name, value in index._store.meta().items() if name.startswith("rows")} == {
            f"rows of {table}": str(counts[table]) for table in ("files", "pieces", "texts")
        }
        assert np.isfinite(index._store.contents(model.dim).vectors).all()
