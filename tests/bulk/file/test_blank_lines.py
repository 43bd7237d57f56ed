"""Blank lines of JSON lines are skipped; the records of rows and lines stay correct."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hash_model import Model, outputs, run, stopped

from c2llm_lite.errors import OutputError, TextError

TEXTS = [f"text {i}" for i in range(22)]
ORDER = "row i is the input's line i + 1"


@pytest.fixture
def spaced(tmp_path: Path) -> Path:
    """Two blank lines before each text, and three after the last."""
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(f"\n \t\r\n{json.dumps({'text': text})}\n" for text in TEXTS) + "\n\n\n")
    return path


def test_rows_are_the_lines_that_are_not_blank(tmp_path: Path, spaced: Path) -> None:
    model = Model()
    assert run(model, spaced, tmp_path / "out.npy").rows == 22
    assert [text for call in model.calls for text in call] == TEXTS
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), Model().embed(TEXTS))
    meta = json.loads(outputs(tmp_path / "out.npy")[1])
    assert (meta["rows"], meta["order"]) == (22, f"{ORDER}, blank lines not counted")
    assert meta["input_bytes"] == spaced.stat().st_size


def test_without_blank_lines_rows_are_lines(tmp_path: Path, records: Path) -> None:
    run(Model(), records, tmp_path / "out.npy")
    assert json.loads(outputs(tmp_path / "out.npy")[1])["order"] == ORDER


def test_a_resumed_run_gives_the_same(tmp_path: Path, spaced: Path) -> None:
    run(Model(), spaced, tmp_path / "whole.npy")
    stopped(spaced, tmp_path / "out.npy")
    model = Model()
    assert run(model, spaced, tmp_path / "out.npy", resume=True).rows == 22
    assert model.calls[1][0] == "text 12"
    assert outputs(tmp_path / "out.npy") == outputs(tmp_path / "whole.npy")
    assert run(Model(), spaced, tmp_path / "out.npy", resume=True).rows == 22  # it was finished
    spaced.write_bytes(spaced.read_bytes() + b"\n")
    with pytest.raises(OutputError, match="another input"):
        run(Model(), spaced, tmp_path / "out.npy", resume=True)


@pytest.mark.parametrize("resumed", [False, True])
def test_a_broken_line_is_named_by_its_number_in_the_file(tmp_path: Path, spaced: Path, resumed: bool) -> None:
    good = spaced.read_bytes()
    if resumed:
        stopped(spaced, tmp_path / "out.npy")
    spaced.write_bytes(good.replace(b'"text 13"', b"13"))
    with pytest.raises(TextError, match="line 42: field 'text' is a int, not a string"):
        run(Model(), spaced, tmp_path / "out.npy", resume=resumed)


def test_a_text_that_cannot_be_embedded_is_named_by_its_line(tmp_path: Path, spaced: Path) -> None:
    spaced.write_bytes(spaced.read_bytes().replace(b'"text 13"', b'"unembeddable"'))
    with pytest.raises(TextError, match="line 42: the text is empty"):
        run(Model(), spaced, tmp_path / "out.npy")


def test_many_blank_lines_are_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("c2llm_lite.bulk.file.texts.PART_BYTES", 300)
    (tmp_path / "texts.jsonl").write_text("\n" * 1000 + '{"text": "a"}\n' + "\n" * 1000 + '{"text": "b"}\n')
    assert run(Model(), tmp_path / "texts.jsonl", tmp_path / "out.npy").rows == 2


def test_a_file_of_blank_lines_alone_gives_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"\n\n")))
    assert run(Model(), "-", tmp_path / "out.npy", field="text").rows == 0
