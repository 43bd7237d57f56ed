"""The footprint measurement, on a tiny bundle."""

from __future__ import annotations

import sys
from pathlib import Path

from checkpoints import write_checkpoint

from c2llm_lite.benchmarks.lab.footprint import FUNCTIONS, chosen, measured
from c2llm_lite.convert import convert


def test_the_longest_function_is_always_chosen() -> None:
    everything, few = chosen(FUNCTIONS), chosen(10)
    assert len(everything) == FUNCTIONS
    assert few[0] == max(everything, key=len)
    assert [len(text) for text in few] == sorted(map(len, few), reverse=True)


def test_a_bundle_is_measured_in_processes_of_its_own(tmp_path: Path) -> None:
    bundle = convert(write_checkpoint(tmp_path / "checkpoint"), tmp_path / "bundle", "gguf:q8_0", target_probes=False)
    row = measured(bundle.folder, ["def f(): pass"])
    assert 10e6 < row["peak_memory"] < 1e9
    assert 0 < min(row["starts"]) <= row["seconds_to_a_vector"] <= max(row["starts"])
    if sys.platform == "linux":
        held = row["of_two_processes"]
        assert 10e6 < held["anonymous"] < held["proportional"] < row["peak_memory"]
