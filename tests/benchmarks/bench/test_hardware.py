"""The description of the machine in results files."""

from __future__ import annotations

import pytest

from c2llm_lite.benchmarks.bench import hardware


def test_the_stamp_names_cpu_cores_and_versions() -> None:
    stamp = hardware.stamp()
    assert stamp["cores"] >= 1
    assert "numpy" in stamp["versions"]


def test_stolen_time_is_a_share_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([[100, 0, 10, 50, 0, 0, 0, 7], [150, 0, 20, 70, 0, 0, 0, 27]])
    monkeypatch.setattr(hardware, "_cpu_times", lambda: next(times))
    assert hardware.Stolen().share() == 0.2  # 20 of 50 + 10 + 20 + 20


def test_an_engine_is_reported_of_without_this_machines_paths() -> None:
    class Model:
        def info(self) -> dict[str, dict[str, object]]:
            return {"engine": {"name": "OpenVINO", "compiled_graph": "/home/me/x.blob", "compiled_graph_bytes": 3}}

    assert hardware.engine(Model()) == {"name": "OpenVINO", "compiled_graph_bytes": 3}  # type: ignore[arg-type]


def test_cores_in_words() -> None:
    assert [hardware.cores({"cores": count}) for count in (1, 2)] == ["1 core", "2 cores"]
