"""Joins parts into one file, in the format of its suffix, one part at a time, so that memory stays bounded."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...errors import MissingDependencyError, OutputError
from .parts import Parts
from .texts import Id

GROUP_ROWS = 4096  # of a parquet row group

# Writes parts to a file; the last argument is an array (0, d) with the vectors' width and dtype.
Join = Callable[[BinaryIO, Parts, NDArray[Any]], None]


def join_for(output: Path) -> Join:
    """Raises OutputError for an unknown suffix, MissingDependencyError for .parquet without pyarrow."""
    if output.suffix not in _FORMATS:
        raise OutputError(f"{output}: the output's name must end in {', '.join(_FORMATS)}")
    if output.suffix == ".parquet":
        _pyarrow()  # fail now, not after hours of embedding
    return _FORMATS[output.suffix]


def join_npy(file: BinaryIO, parts: Parts, none: NDArray[Any]) -> None:
    """(n, d) without ids; the rows are the input's lines."""
    shape = (parts.rows, none.shape[1])
    header = {"descr": np.lib.format.dtype_to_descr(none.dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for vectors in parts.vectors():
        file.write(vectors.tobytes())


def join_jsonl(file: BinaryIO, parts: Parts, none: NDArray[Any]) -> None:
    """One {"id": …, "embedding": […]} per line, without "id" if the input's line had none."""
    # Nine digits restore a float32 exactly (IEEE 754), in two thirds of a double's space; int8 and uint8 fit as well.
    numbers = ", ".join(["%.9g"] * none.shape[1])
    for vectors, ids in zip(parts.vectors(), parts.ids(), strict=True):
        for vector, id_ in zip(vectors, ids, strict=True):
            start = "{" if id_ is None else f'{{"id": {json.dumps(id_, ensure_ascii=False)}, '
            file.write(f'{start}"embedding": [{numbers % tuple(vector.tolist())}]}}\n'.encode())


def join_parquet(file: BinaryIO, parts: Parts, none: NDArray[Any]) -> None:
    """Columns id (if the input has ids) and embedding, a list of d; row groups of GROUP_ROWS, independent of the parts.

    Ids are int64 if all of them are integers that fit, and strings otherwise.
    """
    pa, pq = _pyarrow()
    width = none.shape[1]
    columns = [pa.field("embedding", pa.list_(pa.from_numpy_dtype(none.dtype), width))]
    if has_ids := any(record.has_ids for record in parts.records):
        numbered = all(_is_int64(id_) for ids in parts.ids() for id_ in ids if id_ is not None)
        columns.insert(0, pa.field("id", pa.int64() if numbered else pa.string()))
    schema = pa.schema(columns)
    with pq.ParquetWriter(file, schema) as writer:
        for vectors, ids in _regrouped(zip(parts.vectors(), parts.ids(), strict=True)):
            arrays = [pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), width)]
            if has_ids:
                values = ids if numbered else [None if id_ is None else str(id_) for id_ in ids]
                arrays.insert(0, pa.array(values, schema.field("id").type))
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _regrouped(
    parts: Iterable[tuple[NDArray[Any], list[Id]]],
) -> Iterator[tuple[NDArray[Any], list[Id]]]:
    """The rows in order, GROUP_ROWS at a time, so that the file does not depend on the parts."""
    vectors: list[NDArray[Any]] = []
    ids: list[Id] = []
    for more, more_ids in parts:
        vectors.append(more)
        ids += more_ids
        if len(ids) >= GROUP_ROWS:
            whole = np.concatenate(vectors)
            while len(ids) >= GROUP_ROWS:
                yield whole[:GROUP_ROWS], ids[:GROUP_ROWS]
                whole, ids = whole[GROUP_ROWS:], ids[GROUP_ROWS:]
            vectors = [whole]
    if ids:
        yield np.concatenate(vectors), ids


def _is_int64(id_: object) -> bool:
    return isinstance(id_, int) and -(2**63) <= id_ < 2**63


def _pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingDependencyError("pyarrow", "parquet", "a .parquet output") from error


_FORMATS: dict[str, Join] = {".npy": join_npy, ".jsonl": join_jsonl, ".parquet": join_parquet}
