"""Bundles damaged without new hashes: every flip, cut and swap must be reported, and none passes a check."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import c2llm_lite
from c2llm_lite.bundle import open_bundle
from c2llm_lite.errors import BundleError

from .fixtures import GGUF, OPENVINO, TORCH, Fixtures
from .forks import Case
from .outcome import DIFFERENT, OK, Outcome, judged

PRELOAD: tuple[str, ...] = ("llama_cpp.llama_cpp", "openvino")
FLIPS = 150  # of each file


def cases(fixtures: Fixtures) -> Iterator[Case]:
    """All of the area."""
    for target in (GGUF, OPENVINO, TORCH):
        for file in sorted(path.name for path in fixtures.bundle(target).iterdir()):
            yield Case(f"{target}: {file}: flips", partial(_flips, fixtures, target, file), 60)
    for file in sorted(path.name for path in fixtures.bundle(GGUF).iterdir()):
        for name, exchange in EXCHANGES.items():
            yield Case(f"{file} is {name}", partial(_exchanged, fixtures, file, exchange))


def _flips(fixtures: Fixtures, target: str, file: str, scratch: Path) -> list[Outcome]:
    folder = shutil.copytree(fixtures.bundle(target), scratch / "bundle")
    path = folder / file
    whole = path.read_bytes()
    draw = random.Random(f"{target}{file}")
    found = []
    for number in range(FLIPS):
        name = f"{target}: {file}: flip {number}"
        flipped = bytearray(whole)
        flipped[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        found.append(_opened(name, folder))
    return found


def _opened(name: str, folder: Path) -> Outcome:
    try:
        open_bundle(folder, check=True)
    except BundleError:
        return Outcome(name, OK)
    except Exception as error:
        return judged(name, error)
    return Outcome(name, DIFFERENT, "not told")


def _exchanged(fixtures: Fixtures, file: str, exchange: Callable[[Path], None], scratch: Path) -> list[Outcome]:
    folder = shutil.copytree(fixtures.bundle(GGUF), scratch / "bundle")
    exchange(folder / file)
    name = f"{file} is {exchange.__name__.strip('_')}"
    try:
        with c2llm_lite.load(folder, threads=1, check=True) as model:
            model.embed("def")
    except Exception as error:
        return [judged(name, error)]
    return [Outcome(name, DIFFERENT, "not told")]


def _missing(path: Path) -> None:
    path.unlink()


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _a_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _a_link_without_end(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _a_link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("nothing")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def _of_200_megabytes(path: Path) -> None:
    os.truncate(path, 200 << 20)


EXCHANGES = {
    change.__name__.strip("_").replace("_", " "): change
    for change in (
        *(_missing, _a_folder, _a_fifo, _a_link_to_itself, _a_link_without_end, _a_link_to_nothing),
        *(_empty, _half, _longer, _of_200_megabytes),
    )
}
