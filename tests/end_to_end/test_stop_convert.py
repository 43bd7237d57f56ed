"""Calibration prints its progress outside a terminal; a stop names what is kept, and the same command continues."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoints import write_checkpoint

LAYERS = 3
# A line after each step in place of every half minute, and a signal to itself when a layer is kept.
PATCHED = """
import os, sys
from c2llm_lite import progress
from c2llm_lite.convert.calibrate.resume import Unfinished
progress.LINE_SECONDS = 0
keep = Unfinished.keep
def kept(*given):
    keep(*given)
    if {number:d}: os.kill(os.getpid(), {number:d})
Unfinished.keep = kept
from c2llm_lite.cli import main
main()
"""


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    source = write_checkpoint(tmp_path / "checkpoint", layers=LAYERS)
    (tmp_path / "texts.jsonl").write_text(
        "".join(json.dumps({"text": f"def f(x): return {i}"}) + "\n" for i in range(9))
    )
    given = [source, "-o", tmp_path / "bundle", "--to", "gguf:int4", "--calibrate", tmp_path / "texts.jsonl"]
    return ["convert", *map(str, given)]


def run(arguments: list[str], number: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PATCHED.format(number=number), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_each_stage_shows_its_share_rate_and_time_left(arguments: list[str]) -> None:
    done = run(arguments)
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()
    for stage, count, last in (
        ("rounding", LAYERS, "100% of 21 matrices"),  # a line a layer
        ("running the texts", 9, "100% of 9 texts"),
    ):
        lines = [line for line in told if line.startswith(f"{stage}: ")]
        assert len(lines) == count
        assert lines[-1].startswith(f"{stage}: {last}, ")
        assert lines[-1].endswith("/s, 0:00 left")


def test_quiet_shows_none(arguments: list[str]) -> None:
    done = run([*arguments, "--quiet"])
    assert done.returncode == 0, done.stderr
    assert not any(word in done.stderr for word in ("converting", "rounding", "fitting", "/s"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_calibration_says_what_is_kept_and_goes_on(
    number: int, code: int, arguments: list[str], tmp_path: Path
) -> None:
    done = run([*arguments, "--quiet"], number)
    assert done.returncode == code
    (folder,) = tmp_path.glob(".bundle.unfinished-*")
    assert done.stderr.splitlines()[-1] == f"stopped: 1 rounded layers are kept in {folder}; the same command continues"
    done = run(arguments)
    assert done.returncode == 0, done.stderr
    assert f"100% of {7 * (LAYERS - 1)} matrices" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "checkpoint", "texts.jsonl"]
