"""What calibration's halves win: four bundles of a target, each near full precision."""

from __future__ import annotations

from pathlib import Path

from checkpoints import write_checkpoint

from c2llm_lite.benchmarks.calibration import measured
from c2llm_lite.convert import reference
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.text import Tokeniser


def test_rows_of_a_random_checkpoint(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "checkpoint", layers=2)
    checkpoint = open_checkpoint(source)
    code = [f"def f{i}(x, y):\n    return x + {i} * y" for i in range(70)]
    ids = Tokeniser(checkpoint.tokenizer_file, 64).encode([*code[:5], *(f"add {i} times y" for i in range(5))])
    full = reference.vectors(checkpoint, ids)
    rows = measured(checkpoint, str(source), "gguf:q4_0", {"document": code[10:]}, ids, full)
    assert [(row["rounding"], row["head"]) for row in rows] == [
        ("nearest", "own"),
        ("nearest", "recovered"),
        ("gptq", "own"),
        ("gptq", "recovered"),
    ]
    assert all(0.99 < row["cosine_percentile_1"] <= row["cosine_mean"] < 1 for row in rows)
    assert all(row["bits"] >= 4.5 for row in rows)
