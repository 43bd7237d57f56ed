"""A file of texts becomes a file of vectors: formats, broken input, and runs killed at any moment."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import random
import signal
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from c2llm_lite import vectors
from c2llm_lite.bulk.file import Written, embed_file
from c2llm_lite.bulk.file.texts import MAX_LINE
from c2llm_lite.errors import MissingDependencyError, OutputError, TextError
from c2llm_lite.text import choose_prompt

WIDTH = 10
FORMATS = (".npy", ".jsonl", ".parquet")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked child; this system has no fork")


class Model:
    """Embedder's face; a text's vector comes from its hash."""

    dim = WIDTH
    prompts = {"query": "find: "}  # noqa: RUF012

    def __init__(self, bundle: str = "b" * 64, max_tokens: int = 16, seconds: float = 0) -> None:
        source = SimpleNamespace(name="C2LLM-tiny")
        manifest = SimpleNamespace(source=source, target="gguf:f16", width=self.dim, max_tokens=max_tokens)
        self.bundle = SimpleNamespace(sha256=bundle, manifest=manifest)
        self.max_tokens = max_tokens
        self.calls: list[list[str]] = []
        self._seconds = seconds

    def embed(
        self,
        texts: list[str],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        dim: int | None = None,
        normalize: bool = True,
        precision: vectors.Precision = "float32",
    ) -> Any:
        if dim is not None and not 1 <= dim <= WIDTH:
            raise ValueError(f"dim is {dim}")
        if "unembeddable" in texts:
            raise TextError(f"text {texts.index('unembeddable')} is empty: give it words, or a prompt")
        self.calls.append(list(texts))
        time.sleep(self._seconds * bool(texts))
        prefix = choose_prompt(self.prompts, prompt_name, prompt)
        found = np.array([_vector(prefix + text) for text in texts], np.float32).reshape(-1, WIDTH)[:, :dim]
        return vectors.encode(vectors.normalise(found) if normalize else found, precision)


def _vector(text: str) -> Any:
    return np.frombuffer(hashlib.sha512(text.encode()).digest()[: 4 * WIDTH], np.uint32).astype(np.float32) - 2**31


def _run(model: Model, source: Path | str, output: Path, **options: Any) -> Written:
    return embed_file(model, source, output, **({"part_rows": 4} | options))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process has written is not lost, synced or not; and syncing is slow."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"text {i}\n" for i in range(22)))
    return path


@pytest.fixture
def records(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"id": f"é{i}", "text": f"text {i}"}) + "\n" for i in range(22)))
    return path


def _outputs(output: Path) -> tuple[bytes, bytes]:
    """All that a finished run leaves."""
    assert not output.with_name(f"{output.name}.partial").exists()
    return output.read_bytes(), output.with_name(f"{output.name}.meta.json").read_bytes()


def _part(output: Path, name: str) -> Path:
    return output.with_name(f"{output.name}.partial") / name


# What is written.


@pytest.mark.parametrize("precision", vectors.PRECISIONS)
@pytest.mark.parametrize("count", [0, 1, 4, 22])
def test_every_format_holds_the_same_rows_in_order(tmp_path: Path, precision: Any, count: int) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"id": i, "text": f"text {i}"}) + "\n" for i in range(count)))
    texts = [f"text {i}" for i in range(count)]
    expected = Model().embed(texts, prompt_name="query", dim=9, precision=precision)
    for suffix in FORMATS:
        output = tmp_path / "new" / f"out{suffix}"
        written = _run(Model(), source, output, prompt_name="query", dim=9, precision=precision)
        assert written.rows == count
        meta = json.loads(_outputs(output)[1])
        assert meta["rows"] == count
    found = np.load(tmp_path / "new" / "out.npy")
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    rows = [json.loads(line) for line in (tmp_path / "new" / "out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == list(range(count))
    np.testing.assert_array_equal(
        np.array([row["embedding"] for row in rows], expected.dtype).reshape(expected.shape), expected
    )
    table = pq.read_table(tmp_path / "new" / "out.parquet")
    assert table.schema.field("embedding").type.list_size == expected.shape[1]
    column = np.array(table["embedding"].to_pylist(), expected.dtype).reshape(expected.shape)
    np.testing.assert_array_equal(column, expected)
    if count:
        assert table["id"].to_pylist() == list(range(count))


def test_meta_tells_what_decides_the_vectors(tmp_path: Path, records: Path) -> None:
    output = tmp_path / "out.npy"
    _run(Model(), records, output, prompt_name="query", dim=9, precision="binary", normalize=False)
    assert json.loads(_outputs(output)[1]) == {
        "format": 1,
        "bundle": "b" * 64,
        "source": "C2LLM-tiny",
        "target": "gguf:f16",
        "prompt": "find: ",
        "dim": 9,
        "precision": "binary",
        "normalize": False,
        "max_tokens": 16,
        "field": "text",
        "rows": 22,
        "order": "row i is the input's line i + 1",
        "input": str(records),
        "input_bytes": records.stat().st_size,
        "input_sha256": hashlib.sha256(records.read_bytes()).hexdigest(),
    }


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\r\nb", ["a", "b"]),
        (b"a\fb\x0b\x85\n".replace(b"\x85", "\x85\u2028c".encode()), ["a\fb\x0b\x85\u2028c"]),
        (b"a\rb\r\n", ["a\rb"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
        (b" \n\t\n", [" ", "\t"]),
        (b"\x00\n", ["\x00"]),
    ],
)
def test_only_line_feeds_end_a_line(tmp_path: Path, content: bytes, texts: list[str]) -> None:
    source = tmp_path / "texts"
    source.write_bytes(content)
    model = Model()
    assert _run(model, source, tmp_path / "out.npy").rows == len(texts)
    assert model.calls == [[], texts]


def test_an_empty_line_is_a_text_where_there_is_a_prompt(tmp_path: Path) -> None:
    source = tmp_path / "texts"
    source.write_bytes(b"a\n\n\r\n")
    model = Model()
    _run(model, source, tmp_path / "out.npy", prompt="find: ")
    assert model.calls == [[], ["a", "", ""]]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([1, 2], [1, 2]),
        ([1, None], [1, None]),
        ([None, "a", 7], [None, "a", "7"]),
        ([2**63], [str(2**63)]),
        ([None, None], None),
    ],
)
def test_ids_in_parquet_have_one_type(tmp_path: Path, ids: list[Any], expected: list[Any] | None) -> None:
    source = tmp_path / "texts.jsonl"
    rows = [{"text": "t"} if id_ is None else {"text": "t", "id": id_} for id_ in ids]
    source.write_text("\n".join(map(json.dumps, rows)))
    _run(Model(), source, tmp_path / "out.parquet", part_rows=1)
    table = pq.read_table(tmp_path / "out.parquet")
    assert ("id" in table.column_names) == (expected is not None)
    if expected is not None:
        assert table["id"].to_pylist() == expected
    _run(Model(), source, tmp_path / "out.jsonl", part_rows=1)
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [{"text": "t"} | {k: v for k, v in row.items() if k == "id"} for row in written] == rows


def test_standard_input(tmp_path: Path, lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _run(Model(), lines, tmp_path / "file.npy")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines.read_bytes())))
    _run(Model(), "-", tmp_path / "out.npy", progress=True)
    assert _outputs(tmp_path / "out.npy")[0] == _outputs(tmp_path / "file.npy")[0]


def test_memory_is_bounded_by_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long lines make a part of fewer rows."""
    monkeypatch.setattr("c2llm_lite.bulk.file.texts.PART_BYTES", 300)
    source = tmp_path / "texts"
    source.write_text("".join(f"{i:099}\n" for i in range(7)))
    model = Model()
    _run(model, source, tmp_path / "out.npy", part_rows=110)
    assert [len(call) for call in model.calls] == [0, 3, 3, 1]


# What is refused.

BROKEN: list[tuple[bytes, str | None, str]] = [
    (b"a\n\xff\n", None, "line 2: not UTF-8 at byte 0: convert the file to UTF-8"),
    ("a".encode("utf-16"), None, "line 1: not UTF-8 at byte 0: convert the file to UTF-8"),
    (b"a\n\nb\n", None, "line 2: the text is empty: give it words, remove the line, or give a prompt"),
    (b"a\n\r\n", None, "line 2: the text is empty: give it words, remove the line, or give a prompt"),
    (b'{"text": "a"}\n{"text"\n', "text", "line 2: not JSON: Expecting ':' delimiter: line 1 column 8 (char 7)"),
    (b'{"text": "a"}\n\n', "text", "line 2: not JSON: Expecting value: line 1 column 1 (char 0)"),
    (b"[" * 200_000, "text", "line 1: not JSON: "),
    (b'{"text": "a", "id": ' + b"1" * 5000 + b"}", "text", "line 1: not JSON: "),
    (b"[1]\n", "text", "line 1: a JSON list, not an object with a field 'text'"),
    (b'{"code": "a", "id": 1}\n', "text", "line 1: no field 'text' among 'code', 'id': name the text's with --field"),
    (b"{}\n", "text", "line 1: no field 'text' among none: name the text's with --field"),
    (b'{"text": 3}\n', "text", "line 1: field 'text' is a int, not a string"),
    (b'{"text": null}\n', "text", "line 1: field 'text' is a NoneType, not a string"),
    (b'{"text": ""}\n', "text", "line 1: the text is empty: give it words, remove the line, or give a prompt"),
    (b'{"text": "\\ud800"}\n', "text", "line 1: field 'text' is not valid Unicode: it holds half of a surrogate pair"),
    (b'{"text": "a", "id": "\\udfff"}\n', "text", "line 1: field 'id' is not valid Unicode"),
    (b'{"text": "a", "id": [1]}\n', "text", "line 1: field 'id' is a list: make it a string or an integer"),
    (b'{"text": "a", "id": true}\n', "text", "line 1: field 'id' is a bool: make it a string or an integer"),
    (b"a\nunembeddable\n", None, "counting from line 1 as text 0: text 1 is empty: give it words, or a prompt"),
]


@pytest.mark.parametrize(("content", "field", "message"), BROKEN)
def test_a_broken_line_is_named_and_can_be_mended(
    tmp_path: Path, content: bytes, field: str | None, message: str
) -> None:
    good = b'{"text": "good"}\n' * 6 if field else b"good\n" * 6
    source, output = tmp_path / "texts", tmp_path / "out.npy"
    source.write_bytes(content)
    with pytest.raises(TextError) as raised:
        _run(Model(), source, output, field=field)
    assert message in str(raised.value)
    assert str(source) in str(raised.value)
    assert not output.exists()
    source.write_bytes(good)
    _run(Model(), source, output, field=field, resume=True)
    assert np.load(output).shape == (6, WIDTH)


def test_parts_before_a_broken_line_are_kept(tmp_path: Path, lines: Path) -> None:
    output = tmp_path / "out.npy"
    good = lines.read_bytes()
    _run(Model(), lines, tmp_path / "good.npy")
    lines.write_bytes(good.replace(b"text 13\n", b"text \xff\n"))
    with pytest.raises(TextError, match="line 14: not UTF-8"):
        _run(Model(), lines, output)
    lines.write_bytes(good)
    model = Model()
    assert _run(model, lines, output, resume=True).rows == 22
    assert model.calls[1][0] == "text 12"
    assert _outputs(output) == _outputs(tmp_path / "good.npy")


def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    source = tmp_path / "texts"
    with source.open("wb") as file:
        file.truncate(MAX_LINE + 2)
    with pytest.raises(TextError, match=r"line 1: longer than 64 MiB: is this a file with one text a line\?"):
        _run(Model(), source, tmp_path / "out.npy")


ARGUMENTS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"resume": True, "force": True}, ValueError, "resume goes on from the finished parts and force drops them"),
    ({"part_rows": 0}, ValueError, "part_rows is 0; give 1 or more"),
    ({"output": "out.csv"}, OutputError, "out.csv: an output's name ends in .npy, .jsonl, .parquet"),
    ({"output": "out"}, OutputError, "out: an output's name ends in .npy, .jsonl, .parquet"),
    ({"output": "folder.npy", "force": True}, OutputError, "folder.npy is a folder: choose another output"),
    ({"output": "texts.jsonl", "force": True}, OutputError, "texts.jsonl is the input: choose another output"),
    ({"output": "old.npy"}, OutputError, "old.npy exists: choose another name, or replace it with --force"),
    ({"output": "old.npy", "resume": True}, OutputError, "old.npy exists, without its meta.json: choose another name"),
    ({"output": "foreign.npy", "force": True}, OutputError, "foreign.npy.partial holds other files than parts: move"),
    ({"output": "file.npy", "force": True}, OutputError, "file.npy.partial holds other files than parts: move it away"),
    ({"output": "old.npy/out.npy"}, OutputError, "could not write "),
    ({"prompt_name": "nothing"}, ValueError, "no prompt is named 'nothing'"),
    ({"prompt_name": "query", "prompt": "x"}, ValueError, "not both"),
    ({"dim": 99}, ValueError, "dim is 99"),
    ({"precision": "int2"}, ValueError, "precision is 'int2'; it can be float32, int8, binary"),
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
        _run(Model(), source, output, **options)
    assert message in str(raised.value)
    assert before == sorted((path, path.is_file() and path.read_bytes()) for path in tmp_path.rglob("*"))


def test_parquet_without_pyarrow(tmp_path: Path, lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"a \.parquet output needs pyarrow.*c2llm-lite\[parquet\]"):
        _run(Model(), lines, tmp_path / "out.parquet")
    assert _run(Model(), lines, tmp_path / "out.npy").rows == 22


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

    _run(Model(), records, tmp_path / f"whole{suffix}")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"could not write .*: No space left on device; .*--resume: finished parts"):
        _run(Model(), records, output)
    assert not list(tmp_path.rglob("*.tmp"))
    _run(Model(), records, output, resume=True)
    assert _outputs(output) == _outputs(tmp_path / f"whole{suffix}")


# Going on.


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _stopped(source: Path, output: Path, after: int = 3, **options: Any) -> None:
    """A run that ends after some parts, as by Ctrl-C."""
    model = Model()
    real = model.embed

    def embed(texts: list[str], **how: Any) -> Any:
        if len(model.calls) == after + 1:
            _interrupt()
        return real(texts, **how)

    model.embed = embed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        _run(model, source, output, **options)


def test_a_resumed_run_embeds_only_what_is_missing(tmp_path: Path, lines: Path) -> None:
    output = tmp_path / "out.npy"
    _stopped(lines, output)
    model = Model()
    assert _run(model, lines, output, resume=True, progress=True).rows == 22
    assert [text for call in model.calls for text in call] == [f"text {i}" for i in range(12, 22)]
    np.testing.assert_array_equal(np.load(output), Model().embed([f"text {i}" for i in range(22)]))


def test_an_unfinished_run_is_neither_mixed_nor_dropped_unasked(tmp_path: Path, lines: Path) -> None:
    output = tmp_path / "out.npy"
    _stopped(lines, output)
    with pytest.raises(OutputError, match=r"partial holds an unfinished run: go on with --resume, or begin anew with "):
        _run(Model(), lines, output)
    model = Model()
    _run(model, lines, output, force=True)
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
    (_run(Model(), records, output) and None) if finished else _stopped(records, output)
    options = dict(options)
    model = options.pop("model", Model())
    message = rf"was made with another {names}: give the same as then, or begin anew with --force"
    with pytest.raises(OutputError, match=message):
        _run(model, records, output, resume=True, **options)
    model = Model()
    _run(model, records, output, resume=True, prompt="")
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
    _stopped(lines, output)
    lines.write_bytes(change(lines.read_bytes()))
    if allowed:
        _run(Model(), lines, output, resume=True)
        np.testing.assert_array_equal(np.load(output), Model().embed(lines.read_text().splitlines()))
        assert json.loads(_outputs(output)[1])["input_sha256"] == hashlib.sha256(lines.read_bytes()).hexdigest()
    else:
        with pytest.raises(OutputError, match=r"was made with another input"):
            _run(Model(), lines, output, resume=True)


def test_resume_refuses_a_last_line_that_has_grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, output = tmp_path / "texts", tmp_path / "out.npy"
    source.write_bytes(b"a\nb")
    _run(Model(), source, tmp_path / "whole.npy")
    with monkeypatch.context() as patch:
        patch.setattr("c2llm_lite.bulk.file._finish", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            _run(Model(), source, output)
    source.write_bytes(b"a\nbc\n")
    with pytest.raises(OutputError, match="another input"):
        _run(Model(), source, output, resume=True)
    source.write_bytes(b"a\nb")
    _run(Model(), source, output, resume=True)
    assert output.read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_standard_input_resumes_where_it_is_given_again(
    tmp_path: Path, lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.npy"
    _stopped(lines, output)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines.read_bytes()[8:])))
    with pytest.raises(OutputError, match="another input"):
        _run(Model(), "-", output, resume=True)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines.read_bytes())))
    assert _run(Model(), "-", output, resume=True).rows == 22


def test_resume_of_a_finished_output_leaves_it(tmp_path: Path, lines: Path) -> None:
    output = tmp_path / "out.npy"
    _run(Model(), lines, output, resume=True)
    before = _outputs(output)
    model = Model()
    assert _run(model, lines, output, resume=True).rows == 22
    assert model.calls == [[]]
    assert _outputs(output) == before
    lines.write_text("other\n")
    with pytest.raises(OutputError, match=r"out.npy was made with another input"):
        _run(Model(), lines, output, resume=True)


@pytest.mark.parametrize("name", ["00000001.npy", "00000001.json", "00000000.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "missing"])
def test_a_damaged_part_is_made_again(tmp_path: Path, records: Path, name: str, damage: str) -> None:
    _run(Model(), records, tmp_path / "whole.jsonl")
    output = tmp_path / "out.jsonl"
    _stopped(records, output)
    path = _part(output, name)
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[:-5])
    else:
        content[0 if path.suffix == ".json" else -1] ^= 1
        path.write_bytes(content)
    _run(Model(), records, output, resume=True)
    assert _outputs(output) == _outputs(tmp_path / "whole.jsonl")


# Killed with signal 9.


CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")


def _killed_at(run: Callable[[], object], folder: Path, step: int) -> bool:
    """Run in a forked child, which kills itself before it changes anything in `folder` for the `step`th time; False
    where it ended first."""
    child = os.fork()
    if child == 0:
        steps = 0

        def count(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal steps
            opened = event == "open" and "w" in str(arguments[1])
            if (opened or event in CHANGES) and str(arguments[0]).startswith(str(folder)):
                if opened and not str(arguments[0]).endswith(".tmp"):
                    os._exit(2)  # half of it could be seen under its own name
                steps += 1
                if steps == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        failed = 1
        try:
            run()
            failed = 0
        finally:
            os._exit(failed)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@needs_fork
@pytest.mark.parametrize(("suffix", "old"), [(".npy", True), (".jsonl", False), (".parquet", False)])
def test_killed_at_every_step_it_can_go_on(tmp_path: Path, records: Path, suffix: str, old: bool) -> None:
    """Before every change to the disk, from the first folder to the last removal; `old`: over an earlier output."""
    _run(Model(), records, tmp_path / f"whole{suffix}", part_rows=11)
    expected = _outputs(tmp_path / f"whole{suffix}")
    step = 0
    while True:
        step += 1
        folder = tmp_path / str(step)
        folder.mkdir()
        output = folder / f"out{suffix}"
        if old:
            _run(Model(), records, output, dim=3)
        before = output.read_bytes() if old else None
        if not _killed_at(lambda at=output: _run(Model(), records, at, force=old, part_rows=11), folder, step):  # type: ignore[misc]
            break
        meta_path = output.with_name(f"{output.name}.meta.json")
        made = json.loads(meta_path.read_bytes())["dim"] if meta_path.exists() else None
        if made is not None:  # it never stands beside another's vectors
            assert output.read_bytes() == (expected[0] if made == WIDTH else before)
        model = Model()
        if made == 3 and not _part(output, "run.json").exists():
            _run(model, records, output, force=True, part_rows=11)  # it had not begun
        else:
            _run(model, records, output, resume=True, part_rows=11)
        assert made != WIDTH or model.calls == [[]]  # nothing is made twice
        assert _outputs(output) == expected
        assert len(list(folder.iterdir())) == 2
    assert step > 20


@needs_fork
def test_killed_at_random_moments_it_can_go_on(tmp_path: Path, records: Path) -> None:
    _run(Model(), records, tmp_path / "whole.jsonl", part_rows=1)
    output = tmp_path / "out.jsonl"
    moments = random.Random(5)
    killed = 0
    for _ in range(10):
        child = os.fork()
        if child == 0:
            try:
                _run(Model(seconds=0.01), records, output, part_rows=1, resume=True)
            finally:
                os._exit(0)
        time.sleep(moments.uniform(0.001, 0.05))
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert killed > 3
    _run(Model(), records, output, part_rows=1, resume=True)
    assert _outputs(output) == _outputs(tmp_path / "whole.jsonl")
