"""Reading the texts and vectors to compare a bundle with."""

from __future__ import annotations

import pytest

from c2llm_lite.verify import ProbeResult, read_texts


def test_texts_are_those_of_the_lines_that_are_not_blank(tmp_path):
    (tmp_path / "t.jsonl").write_text('\n{"text": "a"}\n  \n{"text": "b", "id": 7}\n')
    assert read_texts(tmp_path / "t.jsonl") == ["a", "b"]


@pytest.mark.parametrize("line", ["[]", "5", "{}", '{"text": 5}'])
def test_a_line_that_is_no_text_is_named(tmp_path, line):
    (tmp_path / "t.jsonl").write_text(f'{{"text": "a"}}\n\n{line}\n')
    with pytest.raises(ValueError, match=r"t\.jsonl, line 3: not a JSON object with a string in the field `text`"):
        read_texts(tmp_path / "t.jsonl")


def test_a_file_without_texts_is_refused(tmp_path):
    (tmp_path / "t.jsonl").write_text("\n\n")
    with pytest.raises(ValueError, match="contains no texts"):
        read_texts(tmp_path / "t.jsonl")


@pytest.mark.parametrize(
    ("own", "full", "passed"),
    [
        (0.999, 0.95, True),
        (0.99, 0.95, False),  # another vector, and further from full precision than the record
        (0.99, 0.97, True),  # another vector, and nearer to it: a machine that rounds less
        (0.99, 0.960001, False),  # as near: the record is of another vector
        (0.999, 0.94, False),
    ],
)
def test_a_vector_nearer_to_full_precision_than_the_record_passes(own, full, passed):
    result = ProbeResult(text="a", own=own, own_least=0.998, full=full, full_least=0.95, full_recorded=0.96)
    assert result.passed == passed
