"""Fills disks while a bundle, vectors or an index are written: a clear error, and nothing is left or lost.

As root each case has a small tmpfs of its own. Otherwise, the limit on a file's size replaces it.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import c2llm_lite
from c2llm_lite.bulk.file import embed_file
from c2llm_lite.bundle import open_bundle
from c2llm_lite.convert import convert
from c2llm_lite.errors import OutputError
from c2llm_lite.search import Index

from .fixtures import GGUF, OPENVINO, TORCH, Fixtures
from .forks import Case
from .outcome import DifferentError
from .tiny import TEXTS

PRELOAD: tuple[str, ...] = (
    "llama_cpp.llama_cpp",
    "gguf",
    "pyarrow.parquet",
    "tree_sitter_language_pack",
    "torch",
    "transformers",
)
PRELOAD += ("nncf", "optimum.intel.openvino", "optimum.exporters.openvino")
KIB = 1024
# From nothing to more than each takes.
BUNDLE_KIB = (4, 12, 40, 100, 200, 300, 380, 420, 460, 4000)
FILE_KIB = (4, 8, 16, 32, 64, 128)
INDEX_KIB = (4, 16, 40, 80, 120)
ROWS = 1500


def cases(fixtures: Fixtures) -> Iterator[Case]:
    """All of the area."""
    for target in (GGUF, "gguf:q8_0", TORCH, "bnb:int8", OPENVINO):
        for size in BUNDLE_KIB:
            yield Case(f"convert to {target} in {size} KiB", partial(_convert, fixtures, target, size), 60)
    for size in BUNDLE_KIB[::3]:
        yield Case(f"convert over another bundle in {size} KiB", partial(_replace, fixtures, size), 60)
    for suffix in (".npy", ".jsonl", ".parquet"):
        for size in FILE_KIB:
            yield Case(f"embed to {suffix} in {size} KiB", partial(_embed, fixtures, suffix, size), 60)
    for size in INDEX_KIB:
        yield Case(f"index in {size} KiB", partial(_index, fixtures, size), 60)
        yield Case(f"a compiled graph in {size} KiB", partial(_cache, fixtures, size), 60)


def _full(scratch: Path, size: int, work: Callable[[Path], object]) -> None:
    """Run `work` with a folder on a disk of `size` KiB."""
    disk = scratch / "disk"
    disk.mkdir()
    if os.geteuid() == 0:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size * KIB}", "tmpfs", disk], check=True)
    else:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size * KIB, size * KIB))
    try:
        work(disk)
    finally:
        if disk.is_mount():
            subprocess.run(["umount", "--lazy", disk], check=True)


def _convert(fixtures: Fixtures, target: str, size: int, scratch: Path) -> None:
    def work(disk: Path) -> None:
        try:
            convert(fixtures.checkpoint, disk / "bundle", target, target_probes=False)
        except OutputError:
            if left := sorted(path.name for path in disk.iterdir()):
                raise DifferentError(f"left behind: {left[0].partition('-')[0]}") from None
            raise
        open_bundle(disk / "bundle", check=True)

    _full(scratch, size, work)


def _replace(fixtures: Fixtures, size: int, scratch: Path) -> None:
    """The bundle that stood there stays whole."""

    def work(disk: Path) -> None:
        try:
            convert(fixtures.checkpoint, disk / "bundle", "gguf:q8_0", target_probes=False)
            convert(fixtures.checkpoint, disk / "bundle", GGUF, target_probes=False, force=True)
        finally:
            if (disk / "bundle").exists():
                open_bundle(disk / "bundle", check=True)

    _full(scratch, 270 + size, work)


def _embed(fixtures: Fixtures, suffix: str, size: int, scratch: Path) -> None:
    source = scratch / "texts.txt"
    source.write_text("".join(f"def f{i}(): pass\n" for i in range(ROWS)), encoding="utf-8")

    def work(disk: Path) -> None:
        with c2llm_lite.load(fixtures.bundle(GGUF), threads=1) as model:
            try:
                embed_file(model, source, disk / f"out{suffix}", part_rows=100)
            except OutputError:
                if (disk / f"out{suffix}").exists():
                    raise DifferentError("an output that is not whole") from None
                raise

    _full(scratch, size, work)


def _index(fixtures: Fixtures, size: int, scratch: Path) -> None:
    tree = scratch / "tree"
    tree.mkdir()
    for i in range(100):
        (tree / f"file{i}.py").write_text(f"def read_{i}(path):\n    return open(path).read({i})\n")

    def work(disk: Path) -> None:
        with (
            c2llm_lite.load(fixtures.bundle(GGUF), threads=1) as model,
            Index(model, tree, index=disk / "index") as index,
        ):
            index.update()

    _full(scratch, size, work)


def _cache(fixtures: Fixtures, size: int, scratch: Path) -> None:
    """A cache that is full costs time and nothing else."""

    def work(disk: Path) -> None:
        os.environ["XDG_CACHE_HOME"] = str(disk)
        for _ in range(2):
            with c2llm_lite.load(fixtures.bundle(OPENVINO), threads=1) as model:
                model.embed(TEXTS)

    _full(scratch, size, work)
