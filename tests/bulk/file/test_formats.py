"""A file of texts becomes a file of vectors: every format has the same rows in order."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hash_model import FORMATS, Model, outputs, run

from c2llm_lite import vectors


@pytest.mark.parametrize("precision", vectors.PRECISIONS)
@pytest.mark.parametrize("count", [0, 1, 4, 22])
def test_every_format_holds_the_same_rows_in_order(tmp_path: Path, precision: Any, count: int) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"id": i, "text": f"text {i}"}) + "\n" for i in range(count)))
    texts = [f"text {i}" for i in range(count)]
    expected = Model().embed(texts, prompt_name="query", dim=9, precision=precision)
    for suffix in FORMATS:
        output = tmp_path / "new" / f"out{suffix}"
        written = run(Model(), source, output, prompt_name="query", dim=9, precision=precision)
        assert written.rows == count
        meta = json.loads(outputs(output)[1])
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


def test_meta_reports_what_decides_the_vectors(tmp_path: Path, records: Path) -> None:
    output = tmp_path / "out.npy"
    run(Model(), records, output, prompt_name="query", dim=9, precision="binary", normalize=False)
    assert json.loads(outputs(output)[1]) == {
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
    assert run(model, source, tmp_path / "out.npy").rows == len(texts)
    assert model.calls == [[], texts]


def test_an_empty_line_is_a_text_where_there_is_a_prompt(tmp_path: Path) -> None:
    source = tmp_path / "texts"
    source.write_bytes(b"a\n\n\r\n")
    model = Model()
    run(model, source, tmp_path / "out.npy", prompt="find: ")
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
    run(Model(), source, tmp_path / "out.parquet", part_rows=1)
    table = pq.read_table(tmp_path / "out.parquet")
    assert ("id" in table.column_names) == (expected is not None)
    if expected is not None:
        assert table["id"].to_pylist() == expected
    run(Model(), source, tmp_path / "out.jsonl", part_rows=1)
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [{"text": "t"} | {k: v for k, v in row.items() if k == "id"} for row in written] == rows


def test_standard_input(tmp_path: Path, lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(Model(), lines, tmp_path / "file.npy")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(lines.read_bytes())))
    run(Model(), "-", tmp_path / "out.npy", progress=True)
    assert outputs(tmp_path / "out.npy")[0] == outputs(tmp_path / "file.npy")[0]


def test_memory_is_bounded_by_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long lines make a part of fewer rows."""
    monkeypatch.setattr("c2llm_lite.bulk.file.texts.PART_BYTES", 300)
    source = tmp_path / "texts"
    source.write_text("".join(f"{i:099}\n" for i in range(7)))
    model = Model()
    run(model, source, tmp_path / "out.npy", part_rows=110)
    assert [len(call) for call in model.calls] == [0, 3, 3, 1]


def test_parts_grow_to_what_a_quarter_of_a_minute_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each text takes a second: parts of 15, after the first of 32."""
    source = tmp_path / "texts"
    source.write_text("".join(f"text {i}\n" for i in range(100)))
    now = [0.0]
    monkeypatch.setattr("c2llm_lite.bulk.file.time.monotonic", lambda: now[0])
    model = Model()
    real = model.embed

    def embed(texts: list[str], **how: Any) -> Any:
        now[0] += len(texts)
        return real(texts, **how)

    model.embed = embed  # type: ignore[method-assign]
    run(model, source, tmp_path / "out.npy", part_rows=None)
    assert [len(call) for call in model.calls] == [0, 32, 15, 15, 15, 15, 8]


def test_parquet_does_not_depend_on_the_parts(tmp_path: Path, records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("c2llm_lite.bulk.file.outputs.GROUP_ROWS", 5)
    for rows in (1, 4, 22):
        run(Model(), records, tmp_path / f"{rows}.parquet", part_rows=rows)
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "4.parquet").read_bytes()
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "22.parquet").read_bytes()


def test_progress_moves_within_a_part(tmp_path: Path, records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[int] = []

    @contextlib.contextmanager
    def bar(*_: object, **__: object) -> Iterator[Callable[[int], None]]:
        yield moved.append

    monkeypatch.setattr("c2llm_lite.bulk.file.bar", bar)
    run(Model(), records, tmp_path / "out.npy", part_rows=22)
    assert len([step for step in moved if step]) == 2
    assert sum(moved) == records.stat().st_size
