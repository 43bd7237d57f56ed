"""With skip_bad, lines that cannot be embedded are skipped and listed with their line and reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hash_model import Model, run, stopped

from c2llm_lite.errors import TextError

BAD = {3: "{", 4: '{"text": 7}', 12: '{"text": "unembeddable", "id": "é"}', 22: '{"code": "x"}'}


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Twenty-two lines, four of which are bad, the last among them; a blank one between."""
    lines = [BAD.get(i, json.dumps({"text": f"text {i}"})) for i in range(1, 23)]
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join([*lines[:5], "", *lines[5:]]), encoding="utf-8")
    return path


def listed(output: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(f"{output}.left_out.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("part_rows", [1, 4, 100])
def test_bad_lines_are_skipped_and_listed(tmp_path: Path, mixed: Path, part_rows: int) -> None:
    output = tmp_path / "out.npy"
    written = run(Model(), mixed, output, skip_bad=True, part_rows=part_rows)
    good = [f"text {i}" for i in range(1, 23) if i not in BAD]
    np.testing.assert_array_equal(np.load(output), Model().embed(good))
    assert (written.rows, written.left_out) == (18, 4)
    found = listed(output)
    assert [one["line"] for one in found] == [3, 4, 13, 23]
    assert [one["id"] for one in found] == [None, None, "é", None]
    assert found[1]["reason"] == "field 'text' is a int, not a string"
    assert found[2]["reason"] == "is empty; remove it or pass a prompt"
    assert all(one["input"] == str(mixed) for one in found)
    meta = json.loads((tmp_path / "out.npy.meta.json").read_text())
    assert (
        meta["order"] == "row i is the input's line i + 1, blank lines and those in out.npy.left_out.jsonl not counted"
    )


def test_a_resumed_run_lists_them_all(tmp_path: Path, mixed: Path) -> None:
    run(Model(), mixed, tmp_path / "whole.npy", skip_bad=True)
    stopped(mixed, tmp_path / "out.npy", after=2, skip_bad=True)
    run(Model(), mixed, tmp_path / "out.npy", skip_bad=True, resume=True)
    assert listed(tmp_path / "out.npy") == listed(tmp_path / "whole.npy")
    assert (tmp_path / "out.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_lines_that_are_all_bad_give_no_rows(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text("{\n" * 10)
    written = run(Model(), tmp_path / "texts.jsonl", tmp_path / "out.npy", skip_bad=True)
    assert (written.rows, written.left_out) == (0, 10)


def test_a_list_of_an_earlier_run_goes(tmp_path: Path, mixed: Path) -> None:
    output = tmp_path / "out.npy"
    run(Model(), mixed, output, skip_bad=True)
    mixed.write_text('{"text": "a"}\n')
    run(Model(), mixed, output, skip_bad=True, force=True)
    assert not Path(f"{output}.left_out.jsonl").exists()


def test_without_it_the_first_bad_line_ends_the_run(tmp_path: Path, mixed: Path) -> None:
    with pytest.raises(TextError, match="line 3: not JSON"):
        run(Model(), mixed, tmp_path / "out.npy")
