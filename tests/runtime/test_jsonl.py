"""JSON lines: every value with its place, blank lines skipped, and each error with its line."""

from __future__ import annotations

import pytest

from c2llm_lite import jsonl
from c2llm_lite.errors import InputError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.jsonl"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", []),
        (b"\n \t\r\n", []),
        (b'{"a": 1}\n[2]\n"three"', [(1, {"a": 1}), (2, [2]), (3, "three")]),
        (b'\n{"a": 1}\r\n \n\n{"b": 2}\n', [(2, {"a": 1}), (5, {"b": 2})]),
        ('{"a": "é\u2028\x85"}\n'.encode(), [(1, {"a": "é\u2028\x85"})]),  # only line feeds end a line
        (b'\xef\xbb\xbf{"a": 1}\n', [(1, {"a": 1})]),
        (b"\xef\xbb\xbf\n1\n", [(2, 1)]),
    ],
)
def test_values_come_with_their_lines(path, content, found):
    path.write_bytes(content)
    assert list(jsonl.read(path)) == [(f"{path}, line {number}", value) for number, value in found]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"no json", "not JSON: Expecting value"),
        (b'{"a": ', "not JSON: Expecting value"),
        (b"[" * 200_000, "not JSON: nested too deeply"),
        (b"1" * 5000, "not JSON: Exceeds the limit"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7; convert the file to UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8 at byte 0; convert the file to UTF-8"),
    ],
)
def test_a_broken_line_is_named(path, line, message):
    path.write_bytes(b"1\n\n" + line + b"\n2\n")
    with pytest.raises(InputError) as raised:
        list(jsonl.read(path))
    assert str(raised.value).startswith(f"{path}, line 3: {message}")


def test_the_lines_before_a_broken_one_are_read(path):
    path.write_text("1\nno json\n")
    rows = jsonl.read(path)
    assert next(rows) == (f"{path}, line 1", 1)
    with pytest.raises(InputError, match="line 2"):
        next(rows)
