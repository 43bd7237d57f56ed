"""`c2llm-lite cache`: the indexes and compiled graphs in the user's cache folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson, err, out, print_json_lines

if TYPE_CHECKING:
    from ..search.kept import Kept

DAYS = 90  # without a use, after which --prune deletes
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class _Entry:
    """kind: "index" or "graph". of: the indexed folder, or the beginning of the bundle's sha256."""

    kind: str
    of: str
    place: Path
    size: int
    used: float
    gone: bool  # the indexed folder does not exist any more
    index: Kept | None = None


def cache(
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", help="Delete indexes of folders that are gone, and what has not been used for 90 days."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the search indexes and compiled graphs in the user's cache folder: size, last use, folder, place.

    All of them can be deleted at any time: a search or a load makes them again.

    Example: c2llm-lite cache --prune
    """
    entries = list(_entries())
    removed = [entry for entry in entries if prune and _is_old(entry) and _remove(entry)]
    if as_json:
        print_json_lines(
            {
                "kind": entry.kind,
                "of": entry.of,
                "place": str(entry.place),
                "bytes": entry.size,
                "used": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.used)),
                "removed": entry in removed,
            }
            for entry in entries
        )
        return
    for entry in entries:
        note = "  removed" if entry in removed else "  the folder is gone" if entry.gone else ""
        used = time.strftime("%Y-%m-%d", time.localtime(entry.used))
        out.print(f"{entry.kind}  {entry.size / MEBIBYTE:,.1f} MiB  {used}  {entry.of}  {entry.place}{note}")
    total = sum(entry.size for entry in entries if entry not in removed)
    err.print(f"{len(entries) - len(removed)} kept, {total / MEBIBYTE:,.1f} MiB; {len(removed)} removed")


def _entries() -> Iterator[_Entry]:
    from ..cache import compiled_folders
    from ..search.kept import kept_indexes, size_of

    for index in kept_indexes():
        folder = index.folder
        gone = folder is not None and not folder.is_dir()
        yield _Entry("index", str(folder or "unknown folder"), index.place, index.size, index.used, gone, index)
    for graphs in compiled_folders():
        used = max((path.stat().st_atime for path in graphs.iterdir()), default=graphs.stat().st_mtime)
        yield _Entry("graph", f"bundle {graphs.name}", graphs, size_of(graphs), used, gone=False)


def _is_old(entry: _Entry) -> bool:
    return entry.gone or time.time() - entry.used > DAYS * 86_400


def _remove(entry: _Entry) -> bool:
    from ..search.kept import remove

    if entry.index is not None:
        return remove(entry.index)
    shutil.rmtree(entry.place)
    return True
