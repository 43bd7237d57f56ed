"""Damaged indexes: whatever is done to the database, a search gives the right hits or says what to do."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from c2llm_lite.search import Index
from c2llm_lite.search.database import DATABASE, LOCK

from .fixtures import Fixtures
from .forks import Case
from .outcome import DifferentError, is_ours
from .words import WIDTH, model

PRELOAD: tuple[str, ...] = ("tree_sitter_language_pack",)
FLIPS = 300
FILES = 12
QUERIES = ("read the path", "push an item on the stack", "close all 3 files")

Hits = list[tuple[str, int, int, str, str, float]]


def cases(fixtures: Fixtures) -> Iterator[Case]:
    """All of the area."""
    del fixtures
    for number in range(FLIPS):
        yield Case(f"random bytes {number}", partial(_damaged, partial(_flip, number)))
    for number in range(FLIPS // 5):
        yield Case(f"zeros {number}", partial(_damaged, partial(_zeros, number)))
    for statement in STATEMENTS:
        yield Case(f"SQL: {statement[:50]}", partial(_damaged, partial(_execute, statement)))
    for name, value in VECTORS.items():
        yield Case(f"a vector of {name}", partial(_damaged, partial(_vector, value)))
    for file in (DATABASE, LOCK, f"{DATABASE}-wal", f"{DATABASE}-shm"):
        for name, make in INSTEAD.items():
            yield Case(f"{file} is {name}", partial(_damaged, partial(_replaced, file, make)))


def _damaged(damage: Callable[[Path], object], scratch: Path) -> None:
    """Search, update and search; in a copy change a file and update first, as the command line does.

    Each time the hits are those of an undamaged index, or there is an error of ours.
    """
    tree, place = scratch / "tree", scratch / "index"
    tree.mkdir()
    for i in range(FILES):
        _write(tree, i)
    right = _updated(tree, place)
    copy = shutil.copytree(place, scratch / "copy")
    told = None
    for damaged in (place, copy):
        if damaged == copy:
            _write(tree, 3, "changed_")
            right = _updated(tree, scratch / "whole")
        damage(damaged)
        try:
            # No hits mislead nobody: the index was started over.
            if damaged == place and (found := _searched(tree, place)):
                _compare(found, right)
            _compare(_updated(tree, damaged), right)
        except Exception as error:
            if not is_ours(error):
                raise
            told = error
    if told is not None:
        raise told


def _write(tree: Path, i: int, word: str = "") -> None:
    (tree / f"file{i}.py").write_text(
        f"def {word}read_{i}(path):\n    return open(path).read({i})\n\n\n"
        f"class Stack{i}:\n    def {word}push(self, item):\n        self.items_{i}.append(item)\n"
    )


def _updated(tree: Path, place: Path) -> Hits:
    with Index(model(), tree, index=place) as index:
        index.update()
        return _hits(index)


def _searched(tree: Path, place: Path) -> Hits:
    with Index(model(), tree, index=place) as index:
        return _hits(index)


def _hits(index: Index) -> Hits:
    return [
        (hit.path, hit.line, hit.end, hit.symbol, hit.code, hit.score)
        for query in QUERIES
        for hit in index.search(query, 5)
    ]


def _compare(found: Hits, right: Hits) -> None:
    if [hit[:-1] for hit in found] != [hit[:-1] for hit in right]:
        raise DifferentError("other hits")
    if not np.allclose([hit[-1] for hit in found], [hit[-1] for hit in right], atol=1e-6):
        raise DifferentError("other scores")


def _flip(number: int, place: Path) -> None:
    draw = random.Random(f"index {number}")
    path = place / DATABASE
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 8, 64))):
        content[draw.randrange(len(content))] = draw.randrange(256)
    path.write_bytes(content)


def _zeros(number: int, place: Path) -> None:
    """A block that was never written, as after a power cut."""
    path = place / DATABASE
    content = bytearray(path.read_bytes())
    start = random.Random(f"zeros {number}").randrange(0, len(content), 512)
    content[start : start + 512] = bytes(512)
    path.write_bytes(content[: path.stat().st_size])


STATEMENTS = (
    "UPDATE texts SET text = 'def other(): pass' WHERE id = 2",
    "UPDATE texts SET text = NULL WHERE id = 2",
    "UPDATE texts SET text = x'ff00ff' WHERE id = 2",
    "UPDATE texts SET sha256 = x'00' WHERE id = 2",
    "UPDATE texts SET sha256 = zeroblob(32) WHERE id = 3",
    "UPDATE texts SET vector = 'text' WHERE id = 2",
    "UPDATE texts SET vector = 5 WHERE id = 2",
    "UPDATE texts SET vector = (SELECT vector FROM texts WHERE id = 1) WHERE id > 1",
    "UPDATE texts SET id = 9000000000000000000 WHERE id = 2",
    "UPDATE texts SET id = -id",
    "UPDATE pieces SET start = start + 1",
    "UPDATE pieces SET start = 'x'",
    "UPDATE pieces SET end = 9e99",
    "UPDATE pieces SET symbol = 'other'",
    "UPDATE pieces SET symbol = x'00ff'",
    "UPDATE pieces SET symbol = 5",
    "UPDATE pieces SET text = 1",
    "UPDATE pieces SET text = 12345",
    "UPDATE pieces SET file = 1",
    "UPDATE pieces SET file = 12345",
    "UPDATE files SET path = 'x' || path",
    "UPDATE files SET path = x'ff' || id",
    "UPDATE files SET path = '../../' || path",
    "UPDATE files SET path = char(27) || path",
    "UPDATE files SET language = 'x'",
    "UPDATE files SET language = NULL",
    "UPDATE files SET digest = 'x'",
    "UPDATE meta SET value = '0'",
    "UPDATE meta SET value = NULL WHERE name = 'format'",
    "DELETE FROM meta",
    "DELETE FROM texts WHERE id = 2",
    "DROP TABLE meta",
    "DROP TABLE files",
    "DROP TABLE pieces",
    "DROP TABLE texts",
    "ALTER TABLE texts RENAME TO other",
    "ALTER TABLE texts DROP COLUMN vector",
    "CREATE TABLE other (x)",
    "CREATE TRIGGER t AFTER INSERT ON pieces BEGIN DELETE FROM pieces; END",
    "CREATE VIEW v AS SELECT * FROM texts",
    "PRAGMA user_version = 7",
    "PRAGMA application_id = 7",
)
VECTORS: dict[str, Any] = {
    "zeros": np.zeros(WIDTH, np.float32),
    "NaN": np.full(WIDTH, np.nan, np.float32),
    "infinity": np.full(WIDTH, np.inf, np.float32),
    "large numbers": np.full(WIDTH, 1e30, np.float32),
    "one number more": np.zeros(WIDTH + 1, np.float32),
    "no number": np.zeros(0, np.float32),
    "another direction": np.eye(1, WIDTH, dtype=np.float32)[0],
}


def _execute(statement: str, place: Path) -> None:
    connection = sqlite3.connect(place / DATABASE)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    # NOT NULL, too, gives way to what damage does: rebuilt without it.
    if "NULL" in statement:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '')")
        connection.commit()
        connection.close()
        connection = sqlite3.connect(place / DATABASE)
    connection.execute(statement)
    connection.commit()
    connection.close()


def _vector(value: Any, place: Path) -> None:
    connection = sqlite3.connect(place / DATABASE)
    connection.execute("UPDATE texts SET vector = ? WHERE id = 2", (value.tobytes(),))
    connection.commit()
    connection.close()


def _replaced(file: str, make: Callable[[Path], object], place: Path) -> None:
    path = place / file
    if path.is_dir():
        shutil.rmtree(path)
    make(path)


def _new(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def instead(path: Path) -> None:
        path.unlink(missing_ok=True)
        make(path)

    return instead


INSTEAD: dict[str, Callable[[Path], object]] = {
    "empty": _new(Path.touch),
    "junk": _new(lambda path: path.write_bytes(random.Random(0).randbytes(8192))),
    "a line of text": _new(lambda path: path.write_text("junk\n")),
    "a folder": _new(Path.mkdir),
    "a FIFO": _new(os.mkfifo),
    "a link to /dev/zero": _new(lambda path: path.symlink_to("/dev/zero")),
    "a link to itself": _new(lambda path: path.symlink_to(path.name)),
    "a link to nothing": _new(lambda path: path.symlink_to("none/none")),
    "missing": _new(lambda path: None),
    "half": lambda path: path.exists() and path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "another database": _new(
        lambda path: sqlite3.connect(path).executescript("CREATE TABLE meta (x)").connection.close()
    ),
}
