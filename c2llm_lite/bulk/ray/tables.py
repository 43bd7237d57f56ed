"""Reads rows from the middle of a Parquet or Arrow file without reading the others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

PARQUET = (".parquet",)
ARROW = (".arrow", ".feather", ".ipc")
BATCH_ROWS = 1024  # decoded at a time; a row group of a Parquet file may have a million


def shape(path: Path) -> tuple[list[str], int]:
    """The names of the columns and the number of rows. Raises pyarrow's errors, or OSError."""
    if path.suffix in PARQUET:
        with pq.ParquetFile(path) as file:
            return file.schema_arrow.names, file.metadata.num_rows
    with _arrow(path) as reader:
        return reader.schema.names, sum(batch.num_rows for batch in _batches(reader))


def column_type(path: Path, column: str) -> pa.DataType:
    """The type of a column's values, decoded from dictionaries. Raises as shape() does."""
    if path.suffix in PARQUET:
        with pq.ParquetFile(path) as file:
            kind = file.schema_arrow.field(column).type
    else:
        with _arrow(path) as reader:
            kind = reader.schema.field(column).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def read(path: Path, first: int, rows: int, columns: list[str]) -> pa.Table:
    """`rows` rows starting at number `first`; fewer at the end of the file."""
    if path.suffix in PARQUET:
        with pq.ParquetFile(path) as file:
            groups, skip = _row_groups(file.metadata, first, rows)
            batches = file.iter_batches(BATCH_ROWS, row_groups=groups, columns=columns)
            return pa.Table.from_batches(_cut(batches, skip, rows), file.read_row_groups([], columns).schema)
    with _arrow(path) as reader:
        return pa.Table.from_batches(_cut(_batches(reader), first, rows), reader.schema).select(columns)


def _row_groups(metadata: Any, first: int, rows: int) -> tuple[list[int], int]:
    """The row groups with these rows, and the number of their rows before these."""
    groups: list[int] = []
    skip = start = 0
    for group in range(metadata.num_row_groups):
        end = start + metadata.row_group(group).num_rows
        if end > first and start < first + rows:
            if not groups:
                skip = first - start
            groups.append(group)
        start = end
    return groups, skip


def _cut(batches: Iterable[pa.RecordBatch], skip: int, rows: int) -> list[pa.RecordBatch]:
    """`rows` rows after the first `skip`."""
    found = []
    for batch in batches:
        taken = batch.slice(min(skip, batch.num_rows), rows)
        skip -= min(skip, batch.num_rows)
        rows -= taken.num_rows
        found.append(taken)
        if not rows:
            break
    return found


@contextlib.contextmanager
def _arrow(path: Path) -> Iterator[Any]:
    """A memory-mapped reader of Arrow files and streams, so that only the requested rows are read."""
    with pa.memory_map(str(path)) as source:
        try:
            reader = pa.ipc.open_file(source)
        except pa.ArrowInvalid:
            source.seek(0)
            reader = pa.ipc.open_stream(source)
        yield reader


def _batches(reader: Any) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pa.RecordBatchFileReader):
        return (reader.get_batch(i) for i in range(reader.num_record_batches))
    return iter(reader)
