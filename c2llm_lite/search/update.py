"""Updates an index: changed files are split, so that they are found by their words; then what is new is embedded.

The first takes seconds where the second takes minutes, so it is finished before the second begins.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..embedder import Embedder
from ..errors import TextError
from ..progress import Advance, bar
from .database import BusyError
from .look import Look, look
from .on_demand import OnDemand
from .read import SkippedError, decode, read_bytes
from .split import split
from .store import CutFile, Store

SPLIT_SECONDS = 2.0  # between two commits of files
# The work in one batch of texts, which is what a crash loses, and its characters, enough to fill passes.
BATCH_SECONDS = 15.0
FIRST_CHARACTERS, MOST_CHARACTERS = 8_000, 1_000_000
QUICK_CHARACTERS = 4_000  # in the first batch where seconds are counted, before the rate is known


@dataclass
class Update:
    """The result of an update. Paths are relative to the folder."""

    files: int = 0  # in the index when it ended
    pieces: int = 0
    without_vector: int = 0  # pieces that are not embedded yet
    changed: int = 0  # files that were new or had changed
    removed: int = 0  # files removed from the index
    embedded: int = 0  # texts; those already in the index are reused
    seconds: float = 0.0
    skipped: dict[str, int] = field(default_factory=dict)  # files and folders by reason: binary, lock file, …
    skipped_paths: dict[str, list[str]] = field(default_factory=dict)  # the same, by reason; a folder's ends with /
    truncated: list[str] = field(default_factory=list)  # files of which only the first 4 MiB are read
    tables: int = 0  # pieces of new or changed files that only go on with a table of data, and were left out
    linked: list[str] = field(default_factory=list)  # links, which are not followed
    unreadable: dict[str, str] = field(
        default_factory=dict
    )  # path: the system's error; the index keeps the last version
    not_utf8: list[str] = field(default_factory=list)  # read with U+FFFD for invalid bytes


@dataclass(frozen=True)
class Request:
    """What an update is asked for. exclude, include: as files() has them.

    verify: read every file, whatever its status. seconds: to embed for; None embeds all. progress: show it.
    """

    exclude: Sequence[str] = ()
    include: Sequence[str] = ()
    verify: bool = False
    seconds: float | None = None
    progress: bool = False


def update(store: Store, folder: Path, model: Embedder | OnDemand, prefix: str, request: Request) -> Update:
    """Update `store` to the content of `folder`. prefix: the documents' prompt.

    Raises TextError if the folder contains nothing to index (the index is unchanged), BusyError if another process
    writes to the index, or it is read-only and the folder has changed; OSError if the folder cannot be listed.
    """
    started = time.monotonic()
    with contextlib.nullcontext() if store.read_only else store.writing():
        known, skipped = store.files(), store.skipped()
        found = look(folder, known, skipped, (request.exclude, request.include), verify=request.verify)
        if not found.changed and not found.unchanged:
            raise TextError(f"{folder} contains nothing to index{found.because()}; pass a folder with code or text")
        kept = found.changed.keys() | found.unchanged
        gone = [path for path in known if path not in kept and not _within(path, found.unreadable)]
        done = Update(
            skipped={reason: len(paths) for reason, paths in found.skipped.items()},
            skipped_paths=found.skipped,
            linked=found.linked,
            truncated=found.truncated,
            unreadable=found.unreadable,
            removed=len(gone),
        )
        if not store.read_only:
            _split_changed(store, folder, found, done, progress=request.progress)
            changed = done.changed or gone or found.touched or found.by_content != skipped
            if changed or not store.is_finished():
                store.finish(folder, gone, found.touched, found.by_content)
            done.embedded = _embed_pending(store, model, prefix, request)
        elif found.changed or gone:
            raise BusyError(f"the index {store.folder} is read-only and was not updated")
        counts = store.counts()
    done.files, done.pieces, done.without_vector = counts["files"], counts["pieces"], counts["without vector"]
    done.seconds = time.monotonic() - started
    return done


def text_sha256(text: str) -> bytes:
    """The hash under which a text is stored."""
    return hashlib.sha256(text.encode()).digest()


def _split_changed(store: Store, folder: Path, found: Look, done: Update, *, progress: bool) -> None:
    batch: list[CutFile] = []
    begun = time.monotonic()
    size = sum(status.size for status in found.changed.values())
    with bar("reading", size, "bytes", show=progress) as advance:
        for path, status in found.changed.items():
            try:
                source = decode(read_bytes(folder / path))
            except (OSError, SkippedError) as error:
                found.unreadable[path] = f"it changed while it was read: {error}"
                continue
            if source.replaced:
                done.not_utf8.append(path)
            cut = split(path, source.text)
            pieces = tuple((piece, text_sha256(piece.text)) for piece in cut.pieces)
            batch.append(CutFile(path, source.digest, cut.language, status, pieces))
            done.tables += cut.tables
            done.changed += 1
            if time.monotonic() - begun > SPLIT_SECONDS:
                store.put(batch)
                batch = []
                begun = time.monotonic()
            advance(status.size)
    if batch:
        store.put(batch)


def _embed_pending(store: Store, model: Embedder | OnDemand, prefix: str, request: Request) -> int:
    """Embed texts that have no vector, for as long as the request says; returns how many."""
    waiting = store.pending()
    if not waiting or (request.seconds is not None and request.seconds <= 0):
        return 0
    most = min(FIRST_CHARACTERS if request.seconds is None else QUICK_CHARACTERS, MOST_CHARACTERS)
    end: float | None = None
    done = 0
    with bar("embedding", sum(characters for _, characters in waiting), "characters", show=request.progress) as advance:
        while done < len(waiting):
            batch, size = _batch(waiting, done, most)
            begun = time.monotonic()
            read = store.texts(batch)
            vectors = model.embed(read, prompt=prefix, progress=_share(advance, size))
            store.set_vectors(dict(zip(batch, vectors, strict=True)))
            done += len(batch)
            now = time.monotonic()
            fitting = size * BATCH_SECONDS / max(now - begun, 1e-3)
            if request.seconds is not None:
                # The first batch waits for the engine to be loaded, and is not counted.
                end = end if end is not None else now + request.seconds
                if now >= end:
                    break
                fitting = min(fitting, size * (end - now) / max(now - begun, 1e-3))
            most = max(1, min(round(fitting), 2 * most, MOST_CHARACTERS))
    return done


def _share(advance: Advance, size: int) -> Callable[[float], None]:
    """What embed() calls with the completed share of a batch."""
    shown = 0

    def show(share: float) -> None:
        nonlocal shown
        advance(round(share * size) - shown)
        shown = round(share * size)

    return show


def _batch(waiting: Sequence[tuple[int, int]], first: int, most: int) -> tuple[list[int], int]:
    """The ids of the next texts, and their characters: at least one text, then as many as `most` allows."""
    batch: list[int] = []
    size = 0
    while first < len(waiting) and (not batch or size + waiting[first][1] <= most):
        id_, characters = waiting[first]
        batch.append(id_)
        size += characters
        first += 1
    return batch, size


def _within(path: str, unreadable: dict[str, str]) -> bool:
    """Whether a path is one of these, or below one."""
    return any(path == one or path.startswith(f"{one}/") for one in unreadable)
