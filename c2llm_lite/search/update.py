"""Updates an index: changed files are split and embedded again, batch by batch.

Every file is read and hashed each time: times and sizes can mislead (a checkout, a restored backup), and hashing a tree
takes less time than loading the model.
"""

from __future__ import annotations

import functools
import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..embedder import Embedder
from ..errors import TextError
from ..pma import Array
from ..progress import Advance, bar
from .read import MAX_BYTES, SkippedError, decode, digest_of, read_bytes
from .split import split
from .store import CutFile, Store
from .walk import LINK, files

# The work in one batch of files, which is what a crash loses, and its characters, enough to fill passes.
BATCH_SECONDS = 15.0
FIRST_CHARACTERS, MOST_CHARACTERS = 8_000, 1_000_000
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass
class Update:
    """The result of an update. Paths are relative to the folder."""

    files: int = 0  # in the index when it ended
    pieces: int = 0
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


@dataclass
class _Look:
    """What a walk over the folder found."""

    changed: dict[str, int] = field(default_factory=dict)  # path: bytes
    unchanged: set[str] = field(default_factory=set)
    skipped: dict[str, list[str]] = field(default_factory=dict)  # paths by reason
    linked: list[str] = field(default_factory=list)
    truncated: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)

    def skip(self, path: str, reason: str) -> None:
        """Note what is passed over."""
        if reason == LINK:
            self.linked.append(path)
        else:
            self.skipped.setdefault(reason, []).append(path)


def update(
    store: Store,
    folder: Path,
    model: Embedder,
    prefix: str,
    *,
    progress: bool,
    exclude: Sequence[str] = (),
    include: Sequence[str] = (),
) -> Update:
    """Update `store` to the content of `folder`. prefix: the documents' prompt. exclude, include: as files() has them.

    Raises TextError if the folder contains nothing to index (the index is unchanged), BusyError if another process
    writes to the index, OSError if the folder cannot be listed.
    """
    started = time.monotonic()
    with store.writing():
        known = store.digests()
        look = _look(folder, known, exclude, include)
        if not look.changed and not look.unchanged:
            raise TextError(f"{folder} contains nothing to index{_because(look)}; pass a folder with code or text")
        counts_by_reason = {reason: len(paths) for reason, paths in look.skipped.items()}
        done = Update(
            skipped=counts_by_reason,
            skipped_paths=look.skipped,
            linked=look.linked,
            truncated=look.truncated,
            unreadable=look.unreadable,
        )
        with bar("indexing", sum(look.changed.values()), "bytes", show=progress) as advance:
            embed = functools.partial(model.embed, prompt=prefix)
            _embed_changed(store, folder, embed, look, done=done, advance=advance)
        kept = look.changed.keys() | look.unchanged
        gone = [path for path in known if path not in kept and not _within(path, look.unreadable)]
        store.remove(gone)
        store.tidy()
        done.removed = len(gone)
        counts = store.counts()
    done.files, done.pieces = counts["files"], counts["pieces"]
    done.seconds = time.monotonic() - started
    return done


def text_sha256(text: str) -> bytes:
    """The hash under which a text is stored."""
    return hashlib.sha256(text.encode()).digest()


def _look(folder: Path, known: dict[str, str], exclude: Sequence[str], include: Sequence[str]) -> _Look:
    look = _Look()

    def failed(path: str, error: OSError) -> None:
        look.unreadable[path] = error.strerror or str(error)

    for path in files(folder, failed, look.skip, exclude=exclude, include=include):
        if not _plain(path):
            look.unreadable[ascii(path)] = "the name holds control characters or is not UTF-8: rename it"
            continue
        try:
            content = read_bytes(folder / path)
            if known.get(path) == digest_of(content):
                look.unchanged.add(path)
            else:
                decode(content)
                look.changed[path] = len(content)
            if (folder / path).stat().st_size > MAX_BYTES:
                look.truncated.append(path)
        except OSError as error:
            failed(path, error)
        except SkippedError as skipped:
            look.skip(path, skipped.reason)
    return look


def _embed_changed(
    store: Store, folder: Path, embed: Callable[..., Array], look: _Look, *, done: Update, advance: Advance
) -> None:
    batch: list[CutFile] = []
    texts: dict[bytes, str] = {}  # to embed
    characters = size = shown = 0
    most = min(FIRST_CHARACTERS, MOST_CHARACTERS)

    def show(share: float) -> None:
        nonlocal shown
        advance(round(share * size) - shown)
        shown = round(share * size)

    def commit() -> None:
        nonlocal characters, size, shown, most
        vectors: dict[bytes, Array] = {}
        begun = time.monotonic()
        if texts:
            vectors = dict(zip(texts, embed(list(texts.values()), progress=show), strict=True))
            fitting = characters * BATCH_SECONDS / max(time.monotonic() - begun, 1e-3)
            most = max(1, min(round(fitting), 2 * most, MOST_CHARACTERS))
        store.put(batch, vectors)
        done.changed += len(batch)
        done.embedded += len(texts)
        show(1.0)
        shown = 0
        batch.clear()
        texts.clear()
        characters = size = 0

    for path, length in look.changed.items():
        size += length
        try:
            source = decode(read_bytes(folder / path))
        except (OSError, SkippedError) as error:
            look.unreadable[path] = f"it changed while it was read: {error}"
            continue
        if source.replaced:
            done.not_utf8.append(path)
        cut = split(path, source.text)
        pieces = tuple((piece, text_sha256(piece.text)) for piece in cut.pieces)
        batch.append(CutFile(path, source.digest, cut.language, pieces))
        done.tables += cut.tables
        for piece, sha256 in pieces:
            if sha256 not in texts and not store.has_text(sha256):
                texts[sha256] = piece.text
                characters += len(piece.text)
        if characters >= most or size >= MAX_BYTES:
            commit()
    if batch:
        commit()


def _because(look: _Look) -> str:
    reasons = [f"{len(paths)} {reason}" for reason, paths in look.skipped.items()]
    reasons += [f"{path}: {why}" for path, why in look.unreadable.items()]
    return f" ({', '.join(reasons[:5])})" if reasons else ""


def _plain(path: str) -> bool:
    """Whether a path is one line of valid Unicode without invisible characters.

    Python keeps bytes that are not UTF-8 as lone surrogates. Control characters and Unicode's bidirectional controls
    would act on the terminal.
    """
    return _UNSHOWN.search(path) is None


def _within(path: str, unreadable: dict[str, str]) -> bool:
    """Whether a path is one of these, or below one."""
    return any(path == one or path.startswith(f"{one}/") for one in unreadable)
