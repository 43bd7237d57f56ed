"""Reading the texts and vectors to compare a bundle with."""

from __future__ import annotations

import pytest

from c2llm_lite.verify import read_texts


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
