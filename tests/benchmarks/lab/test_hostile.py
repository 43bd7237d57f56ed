"""The hostile campaign distinguishes its five outcomes, and cleans up after each."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from c2llm_lite import vectors
from c2llm_lite.benchmarks.lab.hostile import gguf_file
from c2llm_lite.benchmarks.lab.hostile.forks import FILE, Case, run
from c2llm_lite.benchmarks.lab.hostile.outcome import (
    DEATH,
    DIFFERENT,
    FOREIGN,
    HANG,
    OK,
    DifferentError,
    Outcome,
    is_ours,
)
from c2llm_lite.errors import BundleError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the campaign forks")


def _fails(error: BaseException) -> None:
    raise error


def _endless_file(folder: Path) -> None:
    with (folder / "x").open("wb") as file:
        while True:
            file.write(bytes(FILE))


ENDINGS = {
    "returns": (lambda folder: None, OK),
    "our type": (lambda folder: _fails(BundleError("x")), OK),
    "our sentence": (lambda folder: vectors.check(0, "float32", 8), OK),
    "a list of its own": (lambda folder: [Outcome("a list of its own", OK)], OK),
    "another's": (lambda folder: int("x"), FOREIGN),
    "no Exception": (lambda folder: _fails(KeyboardInterrupt()), FOREIGN),
    "abort": (lambda folder: os.abort(), DEATH),
    "exit": (lambda folder: os._exit(0), DEATH),
    "sleep": (lambda folder: time.sleep(60), HANG),
    "a file without end": (_endless_file, HANG),
    "memory without end": (lambda folder: bytearray(1 << 40), FOREIGN),
    "differs": (lambda folder: _fails(DifferentError("x")), DIFFERENT),
}


def test_each_ending_has_its_kind(tmp_path: Path) -> None:
    cases = [Case(name, work, seconds=2) for name, (work, _) in ENDINGS.items()]
    found = {outcome.name: outcome.kind for outcome in run(cases, tmp_path, at_once=2)}
    assert found == {name: kind for name, (_, kind) in ENDINGS.items()}
    assert list(tmp_path.iterdir()) == []


def test_what_a_case_started_ends_with_it(tmp_path: Path) -> None:
    started = tmp_path / "started"

    def work(folder: Path) -> None:
        child = os.fork()
        if child == 0:
            signal.pause()
        started.write_text(str(child))

    (tmp_path / "work").mkdir()
    assert [outcome.kind for outcome in run([Case("x", work)], tmp_path / "work", at_once=1)] == [OK]
    until = time.monotonic() + 5
    while (
        Path(f"/proc/{started.read_text()}/status").exists()
        and "Z (zombie)" not in Path(f"/proc/{started.read_text()}/status").read_text()
    ):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_an_error_of_a_library_is_not_ours() -> None:
    with pytest.raises(ValueError, match="could not broadcast") as caught:
        np.zeros(3)[:] = np.zeros(2)
    assert not is_ours(caught.value)
    with pytest.raises(ValueError, match="dim is 9") as caught:
        vectors.check(9, "float32", 8)
    assert is_ours(caught.value)
    assert is_ours(FileNotFoundError(2, "No such file", "x.npy"))
    assert not is_ours(OSError(28, "No space left on device", "x.npy"))


def test_a_gguf_file_is_the_same_when_put_together_again(f32_bundle: Path) -> None:
    content = (f32_bundle / "backbone.gguf").read_bytes()
    assert gguf_file.read(content).content() == content
