"""What emulated machines gave is compared with this machine and with full precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from c2llm_lite.benchmarks.lab.emulation import compare, vectors
from c2llm_lite.verify import read_texts


def written(folder: Path, name: str, rows: list[list[float]]) -> None:
    run: dict[str, Any] = {key: {} for key in ("engine", "system", "stamp", "seconds", "probes")}
    (folder / f"{name}.json").write_text(json.dumps(run | {"target": "gguf:q8_0", "vectors": rows}))


def test_each_machine_is_compared_with_here_and_with_full_precision(tmp_path: Path) -> None:
    written(tmp_path, "full.here", [[1, 0], [0, 1]])
    written(tmp_path, "q8.here", [[1, 0], [0.6, 0.8]])
    written(tmp_path, "q8.cortex-a72", [[0.8, 0.6], [0, 1]])
    rows = compare.compare(tmp_path)["q8"]
    assert rows["target"] == "gguf:q8_0"
    assert rows["here"]["cosine_to_full"] == {"mean": 0.9, "lowest": 0.8}
    assert rows["cortex-a72"]["cosine_to_full"] == {"mean": 0.9, "lowest": 0.8}
    assert rows["cortex-a72"]["cosine_to_here"] == {"mean": 0.8, "lowest": 0.8}
    assert "cosine_to_here" not in rows["here"]


def test_rows_of_an_earlier_run_stay(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    for folder, machine in ((tmp_path / "first", "cortex-a72"), (tmp_path / "second", "max")):
        folder.mkdir()
        for name in ("full.here", "q8.here", f"q8.{machine}"):
            written(folder, name, [[1, 0], [0, 1]])
        compare.main(folder, results, "qemu")
    found = json.loads(results.read_text())
    assert found["emulator"] == "qemu"
    assert set(found["bundles"]["q8"]) == {"target", "here", "cortex-a72", "max"}


def test_what_a_mixed_index_changes() -> None:
    indexed = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
    asked = indexed.copy()
    asked[0] = [0.6, 0.8]
    found = compare.mixed(asked, indexed)
    assert found["largest_change"] == pytest.approx(0.8)  # of the first and the last text: 0, then 0.8
    assert (found["nearest_kept"], found["texts"]) == (3, 3)


def test_the_texts_are_twenty_short_ones() -> None:
    texts = read_texts(vectors.TEXTS)
    assert (len(texts), len(set(texts))) == (20, 20)
