"""A run killed at any step resumes to the same bytes."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hash_model import WIDTH, Model, outputs, part, run

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked child; this system has no fork")
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")


def _killed_at(run: Callable[[], object], folder: Path, step: int) -> bool:
    """Run in a forked child, which kills itself before it changes anything in `folder` for the `step`th time; False
    where it ended first."""
    child = os.fork()
    if child == 0:
        steps = 0

        def count(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal steps
            opened = event == "open" and "w" in str(arguments[1])
            if (opened or event in CHANGES) and str(arguments[0]).startswith(str(folder)):
                if opened and not str(arguments[0]).endswith(".tmp"):
                    os._exit(2)  # half of it could be seen under its own name
                steps += 1
                if steps == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        failed = 1
        try:
            run()
            failed = 0
        finally:
            os._exit(failed)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@needs_fork
@pytest.mark.parametrize(("suffix", "old"), [(".npy", True), (".jsonl", False), (".parquet", False)])
def test_killed_at_every_step_it_can_continue(tmp_path: Path, records: Path, suffix: str, old: bool) -> None:
    """Before every change to the disk, from the first folder to the last removal; `old`: over an earlier output."""
    run(Model(), records, tmp_path / f"whole{suffix}", part_rows=11)
    expected = outputs(tmp_path / f"whole{suffix}")
    step = 0
    while True:
        step += 1
        folder = tmp_path / str(step)
        folder.mkdir()
        output = folder / f"out{suffix}"
        if old:
            run(Model(), records, output, dim=3)
        before = output.read_bytes() if old else None
        if not _killed_at(lambda at=output: run(Model(), records, at, force=old, part_rows=11), folder, step):  # type: ignore[misc]
            break
        meta_path = output.with_name(f"{output.name}.meta.json")
        made = json.loads(meta_path.read_bytes())["dim"] if meta_path.exists() else None
        if made is not None:  # it is never beside another input's vectors
            assert output.read_bytes() == (expected[0] if made == WIDTH else before)
        model = Model()
        if made == 3 and not part(output, "run.json").exists():
            run(model, records, output, force=True, part_rows=11)  # it had not begun
        else:
            run(model, records, output, resume=True, part_rows=11)
        assert made != WIDTH or model.calls == [[]]  # nothing is made twice
        assert outputs(output) == expected
        assert len(list(folder.iterdir())) == 2
    assert step > 20


@needs_fork
def test_killed_at_random_moments_it_can_continue(tmp_path: Path, records: Path) -> None:
    run(Model(), records, tmp_path / "whole.jsonl", part_rows=1)
    output = tmp_path / "out.jsonl"
    moments = random.Random(5)
    killed = 0
    for _ in range(10):
        child = os.fork()
        if child == 0:
            try:
                run(Model(seconds=0.01), records, output, part_rows=1, resume=True)
            finally:
                os._exit(0)
        time.sleep(moments.uniform(0.001, 0.05))
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert killed > 3
    run(Model(), records, output, part_rows=1, resume=True)
    assert outputs(output) == outputs(tmp_path / "whole.jsonl")
