"""A resumed run embeds only what is missing, and is never mixed with another run."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hash_model import Model, interrupt, outputs, part, run, stopped

from c2llm_lite.errors import OutputError


def test_a_resumed_run_embeds_only_what_is_missing(tmp_path: Path, lines: Path) -> None:
    output = tmp_path / "out.npy"
    stopped(lines, output)
    model = Model()
    assert run(model, lines, output, resume=True, progress=True).rows == 22
    assert [text for call in model.calls for text in call] == [f"text {i}" for i in range(12, 22)]
    np.testing.assert_array_equal(np.load(output), Model().embed([f"text {i}" for i in range(22)]))


def test_an_unfinished_run_is_neither_mixed_nor_dropped_unasked(tmp_path: Path, lines: Path) -> None:
    output = tmp_path / "out.npy"
    stopped(lines, output)
    with pytest.raises(OutputError, match="an unfinished run; continue it with --resume, or discard it with --force"):
        run(Model(), lines, output)
    model = Model()
    run(model, lines, output, force=True)
    assert model.calls[1][0] == "text 0"


OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"model": Model(bundle="c" * 64)}, "bundle"),
    ({"model": Model(max_tokens=8)}, "max_tokens"),
    ({"prompt": "x"}, "prompt"),
    ({"dim": 3}, "dim"),
    ({"precision": "int8"}, "precision"),
    ({"normalize": False}, "normalize"),
    ({"field": "code"}, "field"),
    ({"dim": 3, "precision": "int8"}, "dim, precision"),
]


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(("options", "names"), OTHERS)
def test_resume_refuses_other_settings(
    tmp_path: Path, records: Path, options: dict[str, Any], names: str, finished: bool
) -> None:
    output = tmp_path / "out.npy"
    (run(Model(), records, output) and None) if finished else stopped(records, output)
    options = dict(options)
    model = options.pop("model", Model())
    message = rf"was made with another {names}; use the same again, or start over with --force"
    with pytest.raises(OutputError, match=message):
        run(model, records, output, resume=True, **options)
    model = Model()
    run(model, records, output, resume=True, prompt="")
    assert len(model.calls) == (1 if finished else 4)


CHANGED: list[tuple[str, Callable[[bytes], bytes], bool]] = [
    ("a byte of what was read", lambda content: content.replace(b"text 2\n", b"text X\n"), False),
    ("cut within what was read", lambda content: content[:50], False),
    ("a line before", lambda content: b"text\n" + content, False),
    ("a byte of what was not read yet", lambda content: content.replace(b"text 20\n", b"text X\n"), True),
    ("cut after what was read", lambda content: content[: content.index(b"text 13")], True),
    ("more at the end", lambda content: content + b"more\n", True),
]


@pytest.mark.parametrize(("change", "allowed"), [case[1:] for case in CHANGED], ids=[case[0] for case in CHANGED])
def test_resume_refuses_a_changed_input(
    tmp_path: Path, lines: Path, change: Callable[[bytes], bytes], allowed: bool
) -> None:
    output = tmp_path / "out.npy"
    stopped(lines, output)
    lines.write_bytes(change(lines.read_bytes()))
    if allowed:
        run(Model(), lines, output, resume=True)
        np.testing.assert_array_equal(np.load(output), Model().embed(lines.read_text().splitlines()))
        assert json.loads(outputs(output)[1])["input_sha256"] == hashlib.sha256(lines.read_bytes()).hexdigest()
    else:
        with pytest.raises(OutputError, match=r"was made with another input"):
            run(Model(), lines, output, resume=True)


def test_resume_refuses_a_last_line_that_has_grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, output = tmp_path / "texts", tmp_path / "out.npy"
    source.write_bytes(b"a\nb")
    run(Model(), source, tmp_path / "whole.npy")
    with monkeypatch.context() as patch:
        patch.setattr("c2llm_lite.bulk.file._finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(Model(), source, output)
    source.write_bytes(b"a\nbc\n")
    with pytest.raises(OutputError, match="another input"):
        run(Model(), source, output, resume=True)
    source.write_bytes(b"a\nb")
    run(Model(), source, output, resume=True)
    assert output.read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_standard_input_resumes_where_it_is_given_again(
    tmp_path: Path, lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.npy"
    stopped(lines, output)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines.read_bytes()[8:])))
    with pytest.raises(OutputError, match="another input"):
        run(Model(), "-", output, resume=True)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines.read_bytes())))
    assert run(Model(), "-", output, resume=True).rows == 22


def test_resume_of_a_finished_output_leaves_it(tmp_path: Path, lines: Path) -> None:
    output = tmp_path / "out.npy"
    run(Model(), lines, output, resume=True)
    before = outputs(output)
    model = Model()
    assert run(model, lines, output, resume=True).rows == 22
    assert model.calls == [[]]
    assert outputs(output) == before
    lines.write_text("other\n")
    with pytest.raises(OutputError, match=r"out.npy was made with another input"):
        run(Model(), lines, output, resume=True)


@pytest.mark.parametrize("name", ["00000001.npy", "00000001.json", "00000000.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "missing"])
def test_a_damaged_part_is_made_again(tmp_path: Path, records: Path, name: str, damage: str) -> None:
    run(Model(), records, tmp_path / "whole.jsonl")
    output = tmp_path / "out.jsonl"
    stopped(records, output)
    path = part(output, name)
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[:-5])
    else:
        content[0 if path.suffix == ".json" else -1] ^= 1
        path.write_bytes(content)
    run(Model(), records, output, resume=True)
    assert outputs(output) == outputs(tmp_path / "whole.jsonl")
