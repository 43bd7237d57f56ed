"""After a kill at any moment, an index opens, searches, and completes to an undisturbed run's result."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import c2llm_lite
from c2llm_lite.search import Index
from c2llm_lite.search import update as updating
from c2llm_lite.search.database import DATABASE

KILLS = 10
FILES = 100
BATCH = 1000  # characters: about 15 batches
CHILD = """
import sys
import c2llm_lite
from c2llm_lite.search import Index, update
update.MOST_CHARACTERS = int(sys.argv[4])
with c2llm_lite.load(sys.argv[1], threads=1) as model, Index(model, sys.argv[2], index=sys.argv[3]) as index:
    print("begun", flush=True)
    index.update()
"""
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a writer; this system has no fork")


def _content(place: Path) -> tuple[Any, Any]:
    """Files and pieces, with each piece's text and vector."""
    connection = sqlite3.connect(place / DATABASE)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        query = (
            "SELECT path, digest, language, start, end, symbol, text.text, vector FROM pieces "
            "JOIN files ON files.id = pieces.file JOIN texts AS text ON text.id = pieces.text ORDER BY path, start, end"
        )
        rows = connection.execute(query).fetchall()
        (texts,) = connection.execute("SELECT count(*) FROM texts").fetchone()
        assert texts == len({row[6] for row in rows})  # nothing is left over
    finally:
        connection.close()
    return [row[:7] for row in rows], np.array([np.frombuffer(row[7], "<f4") for row in rows])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
def test_ten_kills_at_random_moments(f32_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updating, "MOST_CHARACTERS", BATCH)
    folder = tmp_path / "tree"
    folder.mkdir()
    for i in range(FILES):
        (folder / f"file{i:03}.py").write_text(
            f"import os\n\n\ndef read_{i}(path):\n    with open(path) as file:\n        return file.read({i})\n\n\n"
            f"class Stack{i}:\n    def push(self, item):\n        self.items_{i}.append(item)\n"
        )
    with c2llm_lite.load(f32_bundle, threads=1) as model:
        started = time.monotonic()
        with Index(model, folder, index=tmp_path / "whole") as index:
            index.update()
        seconds = time.monotonic() - started
        rows, vectors = _content(tmp_path / "whole")
        moments = random.Random(0)
        midway = 0
        for kill in range(KILLS):
            place = tmp_path / f"killed{kill}"
            command = [sys.executable, "-c", CHILD, str(f32_bundle), str(folder), str(place), str(BATCH)]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
                assert child.stdout is not None
                assert child.stdout.readline() == b"begun\n"
                time.sleep(moments.uniform(0, seconds))
                child.kill()
            with Index(model, folder, index=place) as index:
                held = index._store.counts()["files"]
                embedded, pieces = index.coverage()
                midway += 0 < embedded < pieces
                assert len(index.search("read a file", count=5)) == min(5, pieces)
                done = index.update()
                assert (done.files, done.changed) == (FILES, FILES - held)
                assert done.embedded >= done.pieces - embedded
            completed, completed_vectors = _content(place)
            assert completed == rows
            np.testing.assert_allclose(completed_vectors, vectors, atol=1e-5)
        assert midway >= 3  # the moments were well chosen


@needs_fork
def test_two_processes_read_while_one_writes(new_model: Any, tree: Path, tmp_path: Path) -> None:
    place = tmp_path / "index"
    with Index(new_model(), tree, index=place) as index:
        index.update()
    for i in range(30):
        (tree / f"new{i}.py").write_text(f"def new_{i}():\n    return 'words{i}'\n")

    def write() -> None:
        updating.MOST_CHARACTERS = 1
        with Index(new_model(seconds=0.02), tree, index=place) as index:
            index.update()

    def read() -> None:
        """Until the last file is there; each search finds a whole state, and no state is older than the one before."""
        held = 0
        with Index(new_model(), tree, index=place) as index:
            deadline = time.monotonic() + 20
            while held < 34:
                assert time.monotonic() < deadline
                assert index.search("read jsonl path", count=1)[0].symbol == "read_jsonl"
                found = index.search("new words", count=100, paths=["*"])
                now = len({hit.path for hit in found})
                assert now >= held
                held = now

    children = [_forked(read), _forked(read), _forked(write)]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]


def _forked(work: Any) -> int:
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child
