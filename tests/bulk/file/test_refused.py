"""Errors name the broken line of the input, and a run that cannot start changes nothing."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hash_model import WIDTH, Model, outputs, run, stopped

from c2llm_lite.bulk.file.texts import MAX_LINE
from c2llm_lite.errors import MissingDependencyError, OutputError, TextError

BROKEN: list[tuple[bytes, str | None, str]] = [
    (b"a\n\xff\n", None, "line 2: not UTF-8 at byte 0; convert the file to UTF-8"),
    ("a".encode("utf-16"), None, "line 1: not UTF-8 at byte 0; convert the file to UTF-8"),
    (b"a\n\nb\n", None, "line 2: empty text; remove the line, pass a prompt, or pass --skip-bad"),
    (b"a\n\r\n", None, "line 2: empty text; remove the line, pass a prompt, or pass --skip-bad"),
    (b'{"text": "a"}\n{"text"\n', "text", "line 2: not JSON: Expecting ':' delimiter: line 1 column 8 (char 7)"),
    (b'{"text": "a"}\n\nx\n', "text", "line 3: not JSON: Expecting value: line 1 column 1 (char 0)"),
    (b"[" * 200_000, "text", "line 1: not JSON: "),
    (b'{"text": "a", "id": ' + b"1" * 5000 + b"}", "text", "line 1: not JSON: "),
    (b"[1]\n", "text", "line 1: a JSON list, not an object with a field 'text'"),
    (b'{"code": "a", "id": 1}\n', "text", "line 1: no field 'text' in 'code', 'id'; pass its name with --field"),
    (b"{}\n", "text", "line 1: no field 'text' in an empty object; pass its name with --field"),
    (b'{"text": 3}\n', "text", "line 1: field 'text' is a int, not a string"),
    (b'{"text": null}\n', "text", "line 1: field 'text' is a NoneType, not a string"),
    (b'{"text": ""}\n', "text", "line 1: empty text; remove the line, pass a prompt, or pass --skip-bad"),
    (
        b'{"text": "\\ud800"}\n',
        "text",
        "line 1: field 'text' is not valid Unicode: it contains half of a surrogate pair",
    ),
    (b'{"text": "a", "id": "\\udfff"}\n', "text", "line 1: field 'id' is not valid Unicode"),
    (b'{"text": "a", "id": [1]}\n', "text", "line 1: field 'id' is a list, not a string or an integer"),
    (b'{"text": "a", "id": true}\n', "text", "line 1: field 'id' is a bool, not a string or an integer"),
    (b"a\nunembeddable\n", None, "line 2: the text is empty; remove it or pass a prompt"),
]


@pytest.mark.parametrize(("content", "field", "message"), BROKEN)
def test_a_broken_line_is_named_and_can_be_corrected(
    tmp_path: Path, content: bytes, field: str | None, message: str
) -> None:
    good = b'{"text": "good"}\n' * 6 if field else b"good\n" * 6
    source, output = tmp_path / "texts", tmp_path / "out.npy"
    source.write_bytes(content)
    with pytest.raises(TextError) as raised:
        run(Model(), source, output, field=field)
    assert message in str(raised.value)
    assert str(source) in str(raised.value)
    assert not output.exists()
    source.write_bytes(good)
    run(Model(), source, output, field=field, resume=True)
    assert np.load(output).shape == (6, WIDTH)


def test_parts_before_a_broken_line_are_kept(tmp_path: Path, lines: Path) -> None:
    output = tmp_path / "out.npy"
    good = lines.read_bytes()
    run(Model(), lines, tmp_path / "good.npy")
    lines.write_bytes(good.replace(b"text 13\n", b"text \xff\n"))
    with pytest.raises(TextError, match="line 14: not UTF-8"):
        run(Model(), lines, output)
    lines.write_bytes(good)
    model = Model()
    assert run(model, lines, output, resume=True).rows == 22
    assert model.calls[1][0] == "text 12"
    assert outputs(output) == outputs(tmp_path / "good.npy")


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    source = tmp_path / "texts"
    with source.open("wb") as file:
        file.truncate(MAX_LINE + 2)
    with pytest.raises(TextError, match=r"line 1: longer than 64 MiB; the file must have one text per line"):
        run(Model(), source, tmp_path / "out.npy")


ARGUMENTS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"resume": True, "force": True}, ValueError, "resume continues from the finished parts and force discards them"),
    ({"part_rows": 0}, ValueError, "part_rows is 0; pass an integer of 1 or more"),
    ({"output": "out.csv"}, OutputError, "out.csv: the output's name must end in .npy, .jsonl, .parquet"),
    ({"output": "out"}, OutputError, "out: the output's name must end in .npy, .jsonl, .parquet"),
    ({"output": "folder.npy", "force": True}, OutputError, "folder.npy is a folder; choose another output"),
    ({"output": "texts.jsonl", "force": True}, OutputError, "texts.jsonl is the input; choose another output"),
    ({"output": "old.npy"}, OutputError, "old.npy exists; choose another name, or replace it with --force"),
    ({"output": "old.npy", "resume": True}, OutputError, "old.npy exists without its meta.json; choose another name"),
    (
        {"output": "foreign.npy", "force": True},
        OutputError,
        "foreign.npy.partial contains files that are not parts; move",
    ),
    (
        {"output": "file.npy", "force": True},
        OutputError,
        "file.npy.partial contains files that are not parts; move it away",
    ),
    ({"output": "old.npy/out.npy"}, OutputError, "could not write "),
    ({"prompt_name": "nothing"}, ValueError, "no prompt is named 'nothing'"),
    ({"prompt_name": "query", "prompt": "x"}, ValueError, "exclude each other"),
    ({"dim": 99}, ValueError, "dim is 99"),
    ({"precision": "int2"}, ValueError, "precision is 'int2'; it must be one of float32, int8, binary"),
    ({"source": "missing.txt"}, FileNotFoundError, "No such file or directory"),
    ({"source": "folder.npy"}, IsADirectoryError, "Is a directory"),
]


@pytest.mark.parametrize(("options", "error", "message"), ARGUMENTS)
def test_what_cannot_begin_touches_nothing(
    tmp_path: Path, records: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "foreign.npy.partial").mkdir()
    (tmp_path / "foreign.npy.partial" / "thesis.txt").write_text("mine")
    (tmp_path / "file.npy.partial").write_text("mine")
    (tmp_path / "old.npy").write_text("old")
    before = sorted((path, path.is_file() and path.read_bytes()) for path in tmp_path.rglob("*"))
    source = tmp_path / options.pop("source", records.name)
    output = tmp_path / options.pop("output", "out.npy")
    with pytest.raises(error) as raised:
        run(Model(), source, output, **options)
    assert message in str(raised.value)
    assert before == sorted((path, path.is_file() and path.read_bytes()) for path in tmp_path.rglob("*"))


def test_parquet_without_pyarrow(tmp_path: Path, lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"a \.parquet output needs pyarrow.*c2llm-lite\[parquet\]"):
        run(Model(), lines, tmp_path / "out.parquet")
    assert run(Model(), lines, tmp_path / "out.npy").rows == 22


@pytest.mark.parametrize(
    ("suffix", "sync"), [(".npy", n) for n in (1, 2, 3, 14, 15)] + [(".jsonl", 14), (".parquet", 14)]
)
def test_a_full_disk_keeps_finished_parts(
    tmp_path: Path, records: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, sync: int
) -> None:
    """run.json, six parts of two files, OUT and OUT.meta.json: the disk is full at the nth of these 15."""
    output = tmp_path / f"out{suffix}"
    calls = 0
    real = os.fsync

    def full(descriptor: int) -> None:
        nonlocal calls
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            calls += 1
            if calls == sync:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    run(Model(), records, tmp_path / f"whole{suffix}")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"could not write .*: No space left on device; .*--resume: finished parts"):
        run(Model(), records, output)
    assert not list(tmp_path.rglob("*.tmp"))
    run(Model(), records, output, resume=True)
    assert outputs(output) == outputs(tmp_path / f"whole{suffix}")


def test_a_run_that_fails_at_its_first_line_leaves_nothing(tmp_path: Path, records: Path) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(TextError, match="no field 'code' in 'id', 'text'"):
        run(Model(), records, tmp_path / "out.npy", field="code")
    assert sorted(tmp_path.iterdir()) == before


def test_an_unfinished_run_does_not_hide_another_mistake(tmp_path: Path, records: Path) -> None:
    output = tmp_path / "out.npy"
    stopped(records, output)
    with pytest.raises(TextError, match="no field 'code'"):
        run(Model(), records, output, field="code")
    with pytest.raises(ValueError, match="dim is 99"):
        run(Model(), records, output, dim=99)
    with pytest.raises(OutputError, match="contains an unfinished run"):
        run(Model(), records, output)
