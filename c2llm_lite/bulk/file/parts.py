"""The finished parts of an output: each is complete or absent, so that an interrupted run can resume.

OUT.partial/ contains run.json, the run's settings, and for each part its vectors, 00000000.npy, then its record,
00000000.json. A part counts once it has its record. run.json is written first and removed first: a folder without it
was not started, or is no longer needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...bundle import file_sha256
from ...durable import durable
from ...errors import OutputError
from .texts import Id, LeftOut

log = logging.getLogger(__name__)

RUN = "run.json"
_OURS = re.compile(r"run\.json|\d{8}\.(npy|json)|.*\.tmp")


@dataclass(frozen=True)
class Record:
    """Identifies a part's content, to detect damage, and its input, to detect changes."""

    first_row: int
    rows: int
    sha256: str  # of the vectors' file
    consumed: int  # bytes of the input, from its start to the part's end
    input_sha256: str  # of those bytes
    has_ids: bool


class Parts:
    """The parts in a folder, in row order. Memory holds one record per part, never its vectors or ids."""

    def __init__(self, folder: Path) -> None:
        """Raises OutputError if `folder` exists and is not ours; it is never emptied then."""
        self.folder = folder
        self.records: list[Record] = []
        if folder.exists() and not (folder.is_dir() and all(_OURS.fullmatch(p.name) for p in folder.iterdir())):
            raise OutputError(f"{folder} contains files that are not parts; move it away, or choose another output")

    @property
    def rows(self) -> int:
        """Rows in the finished parts."""
        return self.records[-1].first_row + self.records[-1].rows if self.records else 0

    @property
    def begun(self) -> bool:
        """Whether the folder belongs to an unfinished run."""
        return (self.folder / RUN).is_file()

    def begin(self, settings: dict[str, Any]) -> None:
        """Create the folder, with the settings of the run."""
        with _as_output_error(self.folder):
            self.folder.mkdir(parents=True)
        with resumable(self.folder / RUN) as file:
            file.write(to_json(settings))

    def settings(self) -> dict[str, Any]:
        """The settings passed to `begin`."""
        return read_json(self.folder / RUN) or {}

    def load(self) -> None:
        """Load the complete parts, up to the first incomplete one. That and later ones are removed."""
        while (part := self._whole(len(self.records))) is not None:
            self.records.append(part)
        if self._path(".json").exists():
            log.warning(
                "%s: part %d is damaged; it and the later parts are computed again", self.folder, len(self.records)
            )
        kept = {RUN, *(self._path(suffix, i).name for i in range(len(self.records)) for suffix in (".npy", ".json"))}
        for path in self.folder.iterdir():
            if path.name not in kept:
                path.unlink()

    def append(
        self,
        vectors: NDArray[Any],
        ids: Sequence[Id],
        *,
        consumed: int,
        input_sha256: str,
        left_out: Sequence[LeftOut] = (),
    ) -> None:
        """Write a part durably. vectors: (rows, d). left_out: skipped lines, up to the part's end."""
        buffer = io.BytesIO()
        np.save(buffer, vectors, allow_pickle=False)
        content = buffer.getbuffer()
        has_ids = any(id_ is not None for id_ in ids)
        digest = hashlib.sha256(content).hexdigest()
        record = Record(self.rows, len(vectors), digest, consumed, input_sha256, has_ids)
        with resumable(self._path(".npy")) as file:
            file.write(content)
        with resumable(self._path(".json")) as file:
            kept = {"record": asdict(record), "ids": list(ids) if has_ids else None}
            file.write(to_json(kept | {"left_out": [list(one) for one in left_out]}))
        self.records.append(record)

    def vectors(self) -> Iterator[NDArray[Any]]:
        """Each part's (rows, d)."""
        for i in range(len(self.records)):
            yield np.load(self._path(".npy", i), allow_pickle=False)

    def ids(self) -> Iterator[list[Id]]:
        """Each part's ids, one per row; None for a row without an id."""
        for i, record in enumerate(self.records):
            found = json.loads(self._path(".json", i).read_bytes())["ids"] if record.has_ids else None
            yield found or [None] * record.rows

    def left_out(self) -> Iterator[LeftOut]:
        """The skipped lines of all parts, in order."""
        for i in range(len(self.records)):
            yield from (LeftOut(*one) for one in json.loads(self._path(".json", i).read_bytes()).get("left_out", ()))

    def remove(self) -> None:
        """Remove the folder, run.json first; without it, the rest is not a run."""
        if self.folder.exists():
            (self.folder / RUN).unlink(missing_ok=True)
            for path in self.folder.iterdir():
                path.unlink()
            self.folder.rmdir()
        self.records.clear()

    def _path(self, suffix: str, index: int | None = None) -> Path:
        """A part's file; without an index, the next part's."""
        return self.folder / f"{len(self.records) if index is None else index:08d}{suffix}"

    def _whole(self, index: int) -> Record | None:
        data = read_json(self._path(".json", index))
        try:
            record = Record(**data["record"]) if data else None
            if record and record.first_row == self.rows and file_sha256(self._path(".npy", index)) == record.sha256:
                return record
        except (FileNotFoundError, KeyError, TypeError):
            pass
        return None


@contextlib.contextmanager
def resumable(path: Path, *, through: Path | None = None) -> Iterator[BinaryIO]:
    """durable() with errors that say how to resume the run."""
    with _as_output_error(path), durable(path, through=through) as file:
        yield file


@contextlib.contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"could not write {path}: {error.strerror or error}; fix that or free some space, then continue "
            "with --resume: finished parts are kept"
        ) from error


def to_json(data: dict[str, Any]) -> bytes:
    """The object as indented JSON in UTF-8 with a final newline."""
    return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode()


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None if the file is missing or contains none."""
    try:
        data = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return data if isinstance(data, dict) else None
