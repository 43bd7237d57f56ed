"""Blank lines of JSON lines are not rows, however the input is split."""

from __future__ import annotations

import json

import pytest

from c2llm_lite.bulk.ray import inputs
from c2llm_lite.errors import InputError


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 99])
def test_spans_hold_the_lines_that_are_not_blank(tmp_path, rows):
    path = tmp_path / "in.jsonl"
    path.write_text("\n\n" + "".join(f"{json.dumps({'text': f'text {i}'})}\n \t\n\n" for i in range(7)) + "\n")
    spans = inputs.spans(path, ["text"], rows)
    assert [span.first for span in spans] == list(range(0, 7, rows))
    assert sum(span.rows for span in spans) == 7
    found = [row for span in spans for row in inputs.read(span, "text", None, "string")]
    assert [row.text for row in found] == [f"text {i}" for i in range(7)]
    assert [row.id for row in found] == [f"{path}:{i:010d}" for i in range(7)]


def test_a_broken_line_says_why(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"text": "a"}\nno json\n\n{"text": "\xff"}\n[1]\n')
    (span,) = inputs.spans(path, ["text"], 9)
    told = [str(row.text) for row in inputs.read(span, "text", None, "string")]
    assert told[1].startswith("is not JSON: Expecting value")
    assert told[2] == "is not UTF-8 at byte 10; convert the file to UTF-8"
    assert told[3] == "is a JSON list, not an object with a field 'text'"


def test_an_input_that_was_cut_is_an_error(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\n')
    (span,) = inputs.spans(path, ["text"], 9)
    path.write_text('{"text": "a"}\n\n')
    with pytest.raises(InputError, match="changed during the run"):
        inputs.read(span, "text", None, "string")
