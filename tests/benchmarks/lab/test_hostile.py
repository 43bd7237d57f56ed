"""The hostile campaign distinguishes its five outcomes, and cleans up after each."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
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


def in_a_process_of_its_own(cases: str, folder: Path) -> dict[str, str]:
    """Kinds by name. Not in the tests' own process: libraries' threads hold locks there, which a fork would inherit."""
    command = [sys.executable, __file__, cases, str(folder)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True, timeout=120
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_each_ending_has_its_kind(tmp_path: Path) -> None:
    found = in_a_process_of_its_own("endings", tmp_path)
    assert found == {name: kind for name, (_, kind) in ENDINGS.items()}
    assert list(tmp_path.iterdir()) == []


def _leave_a_child(folder: Path) -> None:
    child = os.fork()
    if child == 0:
        signal.pause()
    (folder.parents[1] / "started").write_text(str(child))


def test_what_a_case_started_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    assert in_a_process_of_its_own("a child", tmp_path / "work") == {"a child": OK}
    status = Path("/proc") / (tmp_path / "started").read_text() / "status"
    until = time.monotonic() + 5
    while status.exists() and "Z (zombie)" not in status.read_text():
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


if __name__ == "__main__":
    named = {"endings": [Case(name, work, seconds=2) for name, (work, _) in ENDINGS.items()]}
    named["a child"] = [Case("a child", _leave_a_child)]
    outcomes = run(named[sys.argv[1]], Path(sys.argv[2]), at_once=2)
    print(json.dumps({outcome.name: outcome.kind for outcome in outcomes}))
