"""gpu.sh's stages on a CPU: every line of them has run before a card is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from c2llm_lite.benchmarks.lab.gpu import drawn
from c2llm_lite.benchmarks.lab.random_checkpoint import C2LLM_05B
from c2llm_lite.convert.targets.bitsandbytes import matrices

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "lab" / "gpu" / "gpu.sh"


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, list[dict]]:
    """Each stage's rows. Compiled kernels are another matter: without TORCHDYNAMO_DISABLE they take a C++ compiler."""
    out = tmp_path_factory.mktemp("gpu")
    settings = {"GPU_SH_DEVICE": "cpu", "PYTHON": sys.executable, "TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    command = ["bash", str(SCRIPT), str(out), "rates", "embed", "accuracy", "big", "profile"]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=True)
    assert "accuracy skipped" in done.stdout
    return {path.stem: [json.loads(line) for line in path.open()] for path in out.glob("*.jsonl")}


def test_every_stage_ends_and_names_the_machine(found: dict[str, list[dict]]) -> None:
    assert found.keys() == {"rates", "embed", "big", "profile"}
    for rows in found.values():
        assert "a dry run" in rows[0]["name"]
        assert len(rows) > 1
        assert not [row for row in rows if "failed" in row]


def test_each_type_and_way_is_measured(found: dict[str, list[dict]]) -> None:
    measured = {(row["kind"], row.get("attention")) for row in found["rates"] if "tokens_a_second" in row}
    assert measured >= {("bf16", "blocks"), ("bf16", "flex"), ("bf16", "transformers, padded")}
    assert measured >= {(kind, "blocks") for kind in drawn.KINDS}


def test_an_unknown_stage_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(["bash", str(SCRIPT), str(tmp_path), "heat"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no stage heat" in done.stderr


def test_operations_count_the_products_alone() -> None:
    assert drawn.parameters(C2LLM_05B) == sum(rows * width for rows, width in matrices(C2LLM_05B))
    attention, feed_forward = 2 * 896**2 + 2 * 896 * 128, 3 * 896 * 4864
    assert drawn.parameters(C2LLM_05B) == 24 * (attention + feed_forward)
