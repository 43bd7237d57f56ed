"""Splits inputs (Parquet, JSON lines, Arrow) into spans, one per part, the same ones in every run.

Ray's own readers split as suits the cluster, so that a part could not be recognized, and end the job at a JSON line
that is broken or changes type. Here Arrow's readers read a span where it is embedded.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa

from ... import jsonl
from ...bundle import file_sha256
from ...errors import InputError, TextError
from ..rows import values
from . import tables

JSONL = (".jsonl", ".ndjson")
SUFFIXES = (*tables.PARQUET, *JSONL, *tables.ARROW)

Id = str | int
IdType = Literal["int64", "string"]


@dataclass(frozen=True)
class Span:
    """Consecutive rows of an input; for JSON lines, the lines that are not blank.

    sha256: of the whole input. offset: where the first row of JSON lines starts, in bytes.
    """

    path: str
    sha256: str
    first: int
    rows: int
    offset: int = 0


class Row(NamedTuple):
    """A row that cannot be read has a TextError as its text; an id that cannot be read is None."""

    id: Id | None
    text: object


def files(inputs: Iterable[str | Path]) -> list[Path]:
    """The input files. A folder is replaced by the files in it at any depth, sorted by name.

    Names in a folder that start with "_" or "." are skipped, as by Spark, Arrow and Ray. Raises InputError for an input
    that is missing, has no supported format or is listed twice, and for a folder without inputs.
    """
    found: list[Path] = []
    for path in map(Path, inputs):
        inside = sorted(_inside(path)) if path.is_dir() else [path]
        if not inside or not inside[0].is_file():
            raise InputError(f"{path} {'contains no input' if path.is_dir() else 'does not exist'}; {_wanted()}")
        if inside[0].suffix not in SUFFIXES:
            raise InputError(f"{path} is not a supported input; {_wanted()}")
        found += inside
    twice = {path for path in found if found.count(path) > 1} if len(set(found)) < len(found) else set()
    if twice:
        raise InputError(f"{min(twice)} is listed twice; list it once")
    return found


def _inside(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(("_", ".")) for part in path.relative_to(folder).parts)
        if not hidden and path.suffix in SUFFIXES and path.is_file():
            yield path


def spans(path: Path, columns: Sequence[str], rows: int) -> list[Span]:
    """Split the input into spans of `rows` rows. Raises InputError if it cannot be read or lacks a column."""
    with _told(path):
        if path.suffix in JSONL:
            offsets, count = _line_offsets(path, columns, rows)
        else:
            names, count = tables.shape(path)
            _check_columns(path, names, columns)
            offsets = [0] * -(-count // rows)
        sha256 = file_sha256(path)
    starts = range(0, count, rows)
    return [
        Span(str(path), sha256, start, min(rows, count - start), offset)
        for start, offset in zip(starts, offsets, strict=True)
    ]


def id_type(spans: Iterable[Span], id_column: str) -> IdType:
    """The type of the ids, from a table's schema or the first id of JSON lines that is not null.

    Raises InputError if they are neither integers nor strings, or if inputs differ.
    """
    told: dict[IdType, str] = {}
    for span in spans:
        if span.first == 0:
            path = Path(span.path)
            with _told(path):
                found = _jsonl_ids(path, id_column) if path.suffix in JSONL else _table_ids(path, id_column)
            if found is not None:
                told.setdefault(found, span.path)
    if len(told) > 1:
        raise InputError(
            f"{id_column!r} contains integers in {told['int64']} and strings in {told['string']}; make them all strings"
        )
    return next(iter(told), "string")


def _table_ids(path: Path, column: str) -> IdType | None:
    """None if every id is null."""
    kind = tables.column_type(path, column)
    if pa.types.is_null(kind):
        return None
    if pa.types.is_integer(kind):
        return "int64"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    raise InputError(f"{path}: {column!r} is of type {kind}; ids must be integers or strings, so cast the column")


def _jsonl_ids(path: Path, column: str) -> IdType | None:
    """None if every id is null or missing."""
    with path.open("rb") as file:
        for line in file:
            data = _json(line)
            value = data.get(column) if isinstance(data, dict) else None
            if isinstance(value, str | int) and not isinstance(value, bool):
                return _type(value)
            if value is not None:
                raise InputError(
                    f"{path}: an id in {column!r} is {json.dumps(value)[:40]}; ids must be integers or strings"
                )
    return None


def read(span: Span, column: str, id_column: str | None, ids: IdType) -> list[Row]:
    """The span's rows, in order. Without an id column, a row's id is its input and number, which sort like the rows.

    ids: the result of id_type(); a row without such an id cannot be read. Raises InputError if the input cannot be read
    or has changed since it was split.
    """
    rows = _rows(span, column, id_column)
    if id_column:
        return [row if row.id is not None and _type(row.id) == ids else _without_id(row, id_column) for row in rows]
    return [Row(f"{span.path}:{span.first + i:010d}", row.text) for i, row in enumerate(rows)]


def _rows(span: Span, column: str, id_column: str | None) -> list[Row]:
    path = Path(span.path)
    with _told(path):
        if path.suffix in JSONL:
            found = _read_lines(path, span, column, id_column)
        else:
            table = tables.read(path, span.first, span.rows, [column, *([id_column] if id_column else [])])
            ids = values(table[id_column]) if id_column else [None] * len(table)
            found = [Row(_id(id_), text) for id_, text in zip(ids, values(table[column]), strict=True)]
    if len(found) != span.rows:
        raise InputError(f"{path} changed during the run; leave inputs unchanged, and run the command again")
    return found


def _line_offsets(path: Path, columns: Sequence[str], rows: int) -> tuple[list[int], int]:
    offsets, at, count = [], 0, 0
    with path.open("rb") as file:
        for line in file:
            if not jsonl.is_blank(line):
                if count == 0 and isinstance(found := _json(line), dict):
                    _check_columns(path, list(found), columns)
                if count % rows == 0:
                    offsets.append(at)
                count += 1
            at += len(line)
    return offsets, count


def _read_lines(path: Path, span: Span, column: str, id_column: str | None) -> list[Row]:
    with path.open("rb") as file:
        file.seek(span.offset)
        lines = (line for line in file if not jsonl.is_blank(line))
        return [_parsed(line, column, id_column) for line in itertools.islice(lines, span.rows)]


def _parsed(line: bytes, column: str, id_column: str | None) -> Row:
    data = _json(line)
    if isinstance(data, TextError):
        return Row(None, data)
    if not isinstance(data, dict):
        return Row(None, TextError(f"is a JSON {type(data).__name__}, not an object with a field {column!r}"))
    id_ = _id(data.get(id_column)) if id_column else None
    return Row(id_, data[column] if column in data else TextError(f"has no field {column!r}"))


def _json(line: bytes) -> object:
    try:
        return jsonl.parse(jsonl.decode(line))
    except ValueError as error:
        return TextError(f"is {error}")


def _id(value: object) -> Id | None:
    """The value, if Arrow's string or int64 can represent it."""
    if isinstance(value, str):
        return None if any("\ud800" <= character <= "\udfff" for character in value) else value
    return value if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63 else None


def _type(id_: Id) -> IdType:
    return "int64" if isinstance(id_, int) else "string"


def _without_id(row: Row, id_column: str) -> Row:
    why = row.text if isinstance(row.text, TextError) else TextError(f"has no id in {id_column!r} of its input's type")
    return Row(None, why)


def _check_columns(path: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    for column in columns:
        if column not in names:
            raise InputError(f"{path} has no column {column!r}; it has {', '.join(names)}")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read {path}: {error}; repair or remove it") from error


def _wanted() -> str:
    return f"give files, or folders of files, whose names end in {', '.join(SUFFIXES)}"
