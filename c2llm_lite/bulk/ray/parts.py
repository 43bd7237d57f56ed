"""Parts of an output: Parquet files that are complete or absent, each with its input and settings in its schema.

A part is written under a temporary name and renamed, so that a part that exists is complete. Its schema also lists the
skipped rows with the reasons; the side file is made from the parts, so that it cannot disagree with them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ...durable import durable
from ...errors import OutputError
from .inputs import Id, Span

KEY = b"c2llm-lite"  # in the schema's metadata; its value is JSON
# Readers of a folder in Arrow, Spark and Ray skip such names.
TEMPORARY = "_partial"
LEFT_OUT = "_left_out.jsonl"


def name(span: Span) -> str:
    """The part's file name. Names sort by row within an input, and two inputs of the same name do not collide."""
    path = Path(span.path)
    return f"{path.stem}-{hashlib.sha256(span.path.encode()).hexdigest()[:8]}-{span.first:010d}.parquet"


def write(
    folder: Path,
    span: Span,
    settings: Mapping[str, Any],
    *,
    ids: Sequence[Id | None],
    vectors: pa.Array,
    left_out: Sequence[Mapping[str, Any]],
) -> None:
    """Write the part durably, replacing one of that name.

    Raises OutputError if it cannot be written.
    """
    made = {"settings": settings, "input": asdict(span), "rows": len(ids), "left_out": left_out}
    id_type = pa.int64() if settings["id_type"] == "int64" else pa.string()
    table = pa.table({"id": pa.array(ids, id_type), "embedding": vectors})
    table = table.replace_schema_metadata({KEY: json.dumps(made)})
    try:
        (folder / TEMPORARY).mkdir(parents=True, exist_ok=True)
        with durable(folder / name(span), through=folder / TEMPORARY) as file:
            pq.write_table(table, file, write_page_checksum=True, compression="zstd")
    except OSError as error:
        raise OutputError(
            f"could not write {folder / name(span)}: {error.strerror or error}; fix that or free some space, then "
            "repeat the command: finished parts are kept"
        ) from error


def made_already(folder: Path, spans: Sequence[Span], settings: Mapping[str, Any]) -> set[Span]:
    """The spans with a complete part.

    Raises OutputError if a part in the folder was made with another bundle, other settings or another input, or if a
    Parquet file is not a part.
    """
    wanted = {name(span): span for span in spans}
    found = set()
    for path, made in _whole(folder):
        _check(path, made["settings"], settings)
        span = wanted.get(path.name)
        if span and made["input"] != asdict(span):
            raise OutputError(
                f"{path} was made from a different {span.path}; put added rows into a file of their own, or choose "
                "another output folder"
            )
        if span:
            found.add(span)
    return found


def write_left_out(folder: Path) -> int:
    """Write the side file from the parts, one JSON line per skipped row. Returns their number."""
    (folder / TEMPORARY).mkdir(parents=True, exist_ok=True)
    count = 0
    with durable(folder / LEFT_OUT, through=folder / TEMPORARY) as file:
        for _, made in _whole(folder):
            for row in made["left_out"]:
                file.write((json.dumps(row, ensure_ascii=False) + "\n").encode(errors="backslashreplace"))
                count += 1
    shutil.rmtree(folder / TEMPORARY)  # with what killed workers left
    return count


def _whole(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each complete part of a folder, by name, with its schema's metadata. Truncated files are skipped."""
    for path in sorted(folder.glob("*.parquet")):
        try:
            with pq.ParquetFile(path) as file:
                metadata, rows = file.schema_arrow.metadata or {}, file.metadata.num_rows
        except (pa.ArrowInvalid, OSError):
            continue
        if KEY not in metadata:
            raise OutputError(
                f"{path} is not a part that c2llm-lite wrote; choose an empty folder, or the folder of an earlier run"
            )
        made: dict[str, Any] = json.loads(metadata[KEY])
        if made["rows"] == rows:
            yield path, made


def _check(path: Path, found: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    differing = [name for name, value in settings.items() if found.get(name) != value]
    if differing:
        told = ", ".join(f"{name} {_short(found.get(name))}, now {_short(settings[name])}" for name in differing)
        raise OutputError(
            f"{path} was made with another {' and '.join(differing)} ({told}); use the same again, or choose "
            "another output folder"
        )


def _short(value: object) -> str:
    shown = str(value)
    return shown if len(shown) <= 40 else f"{shown[:12]}…"
