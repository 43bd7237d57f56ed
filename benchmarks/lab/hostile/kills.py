"""SIGKILL, SIGTERM and Ctrl-C at random moments: existing output stays intact, and a second run finishes the work."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

import c2llm_lite
from c2llm_lite.bulk.file import embed_file
from c2llm_lite.bundle import open_bundle
from c2llm_lite.convert import convert
from c2llm_lite.search import Index
from c2llm_lite.search import update as updating
from c2llm_lite.search.database import DATABASE

from .crafted import TOLERANCE
from .fixtures import GGUF, OPENVINO, Fixtures
from .forks import Case
from .outcome import DifferentError
from .tiny import TEXTS

PRELOAD: tuple[str, ...] = (
    "llama_cpp.llama_cpp",
    "openvino",
    "openvino._offline_transformations",
    "gguf",
    "pyarrow.parquet",
)
PRELOAD += ("tree_sitter_language_pack",)
KILLS = 12  # of each kind
INTERRUPTS = 60  # of each engine
ROWS = 60
SUFFIXES = (".npy", ".jsonl", ".parquet")


def cases(fixtures: Fixtures) -> Iterator[Case]:
    """All of the area."""
    for number in range(KILLS):
        yield Case(f"convert, kill {number}", partial(_convert, fixtures, number), 60)
        yield Case(f"convert over another bundle, kill {number}", partial(_replace, fixtures, number), 60)
        yield Case(f"index, kill {number}", partial(_index, fixtures, number), 60)
        for suffix in SUFFIXES:
            yield Case(f"embed to {suffix}, kill {number}", partial(_embed, fixtures, suffix, number), 60)
    for number in range(INTERRUPTS):
        for target in (GGUF, OPENVINO):
            yield Case(f"{target}, interrupt {number}", partial(_interrupt, fixtures, target, number), 60)


def _killed(work: Callable[[], object], seed: str, longest: float) -> None:
    """Run `work` in a child of its own, and kill it at a moment of the first `longest` seconds."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    time.sleep(random.Random(seed).uniform(0, longest))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _convert(fixtures: Fixtures, number: int, scratch: Path) -> None:
    made = scratch / "bundle"
    work = partial(convert, fixtures.checkpoint, made, GGUF, target_probes=False)
    _killed(work, f"convert {number}", 0.3)
    if not made.exists():
        work()
    _same_folder(made, _whole(fixtures, scratch))


def _replace(fixtures: Fixtures, number: int, scratch: Path) -> None:
    """What stood there before, or what takes its place: never nothing."""
    made = scratch / "bundle"
    convert(fixtures.checkpoint, made, "gguf:f16", target_probes=False)
    before = _contents(made)
    work = partial(convert, fixtures.checkpoint, made, GGUF, target_probes=False, force=True)
    _killed(work, f"replace {number}", 0.3)
    whole = _whole(fixtures, scratch)
    if _contents(made) != before:
        _same_folder(made, whole)
    work()
    _same_folder(made, whole)


def _whole(fixtures: Fixtures, scratch: Path) -> Path:
    return convert(fixtures.checkpoint, scratch / "whole", GGUF, target_probes=False).folder


def _same_folder(made: Path, whole: Path) -> None:
    open_bundle(made, check=True)
    if _contents(made) != _contents(whole):
        raise DifferentError("another bundle than an undisturbed run's")


def _contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def _embed(fixtures: Fixtures, suffix: str, number: int, scratch: Path) -> None:
    source, out, whole = scratch / "texts.txt", scratch / f"out{suffix}", scratch / f"whole{suffix}"
    source.write_text("".join(f"def f{i}(x): return x + {i}\n" for i in range(ROWS)), encoding="utf-8")

    def work(output: Path, resume: bool) -> None:
        with c2llm_lite.load(fixtures.bundle(GGUF), threads=1) as model:
            embed_file(model, source, output, part_rows=4, resume=resume)

    _killed(partial(work, out, False), f"embed {suffix} {number}", 0.3)
    work(out, True)
    work(whole, False)
    if out.read_bytes() != whole.read_bytes():
        raise DifferentError("another file than an undisturbed run's")


def _index(fixtures: Fixtures, number: int, scratch: Path) -> None:
    updating.MOST_CHARACTERS = 500
    tree = scratch / "tree"
    tree.mkdir()
    for i in range(40):
        (tree / f"file{i}.py").write_text(
            f"def read_{i}(path):\n    with open(path) as file:\n        return file.read({i})\n"
        )

    def work(place: Path) -> None:
        with c2llm_lite.load(fixtures.bundle(GGUF), threads=1) as model, Index(model, tree, index=place) as index:
            index.update()

    _killed(partial(work, scratch / "index"), f"index {number}", 0.3)
    work(scratch / "index")
    work(scratch / "whole")
    rows, vectors = _rows(scratch / "index")
    whole_rows, whole_vectors = _rows(scratch / "whole")
    if rows != whole_rows or not np.allclose(vectors, whole_vectors, atol=TOLERANCE):
        raise DifferentError("another index than an undisturbed run's")


def _rows(place: Path) -> tuple[list[tuple[object, ...]], np.ndarray]:
    connection = sqlite3.connect(place / DATABASE)
    found = connection.execute(
        "SELECT path, start, end, symbol, texts.text, vector FROM pieces JOIN files ON files.id = pieces.file "
        "JOIN texts ON texts.id = pieces.text ORDER BY path, start, end"
    ).fetchall()
    connection.close()
    return [row[:-1] for row in found], np.array([np.frombuffer(row[-1], np.float32) for row in found])


def _interrupt(fixtures: Fixtures, target: str, number: int, scratch: Path) -> None:
    """Ctrl-C within embed(): it ends as KeyboardInterrupt, and the model continues to give the right vectors."""
    del scratch
    texts = [f"{text}{i}" for i in range(100) for text in TEXTS]
    with c2llm_lite.load(fixtures.bundle(target), threads=1, cache=False) as model:
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, random.Random(f"{target} {number}").uniform(0.0005, 0.2))
        until = time.monotonic() + 3
        try:
            while time.monotonic() < until:
                model.embed(texts)
            raise DifferentError("Ctrl-C was lost")
        except KeyboardInterrupt:
            pass
        if not np.allclose(model.embed(TEXTS), fixtures.vectors(target), atol=TOLERANCE):
            raise DifferentError("other vectors after an interrupt")
