"""What results files rest on: the machine's account, and runs that go on where they were stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from c2llm_lite.benchmarks import hardware
from c2llm_lite.benchmarks.standin import _rows_of_a_stopped_run

RESULT: dict[str, Any] = {
    "checkpoint": {"sha256": "a"},
    "pairs": {"used": 1000},
    "on": {"cpu": "x", "cores": 2, "versions": {"numpy": "2"}, "date": "2026-11-22", "free_memory": 5},
    "rows": [{"target": "torch:fp32"}, {"target": "gguf:q8_0"}],
}


def test_the_stamp_names_cpu_cores_and_versions() -> None:
    stamp = hardware.stamp()
    assert stamp["cores"] >= 1
    assert "numpy" in stamp["versions"]


def test_stolen_time_is_a_share_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([[100, 0, 10, 50, 0, 0, 0, 7], [150, 0, 20, 70, 0, 0, 0, 27]])
    monkeypatch.setattr(hardware, "_cpu_times", lambda: next(times))
    assert hardware.Stolen().share() == 0.2  # 20 of 50 + 10 + 20 + 20


def test_a_stopped_run_goes_on_in_the_same_set_up_only(tmp_path: Path) -> None:
    path = tmp_path / "unfinished.json"
    fresh = RESULT | {"rows": RESULT["rows"][:1]}
    assert _rows_of_a_stopped_run(path, fresh) == []
    path.write_text(json.dumps(RESULT))
    assert _rows_of_a_stopped_run(path, fresh) == RESULT["rows"][1:]
    assert _rows_of_a_stopped_run(path, fresh | {"on": RESULT["on"] | {"free_memory": 6}}) == RESULT["rows"][1:]
    assert _rows_of_a_stopped_run(path, fresh | {"checkpoint": {"sha256": "b"}}) == []
    assert _rows_of_a_stopped_run(path, fresh | {"on": RESULT["on"] | {"versions": {"numpy": "3"}}}) == []
