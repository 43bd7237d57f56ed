"""The index of a folder: update, search in words or by code, and duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..embedder import Embedder
from ..errors import ArgumentError, TextError
from ..pma import Array
from ..progress import bar
from ..text import choose_prompt
from . import duplicates as near
from .cache import default_place
from .languages import language_of
from .nearest import Rows, nearest
from .pieces import Piece, cut
from .read import SkippedError, decode, read_bytes
from .store import Place, Store
from .update import Update, text_sha256, update
from .walk import matcher

LEAST_LINES = 5  # of a duplicate; shorter functions are similar everywhere


@dataclass(frozen=True)
class Hit:
    """A piece of code that was found.

    Attributes:
        path: The file, below the index's folder.
        line, end: The first and the last line, from 1.
        symbol: Such as "Stack.push"; "" for lines outside definitions.
        language: Such as "python".
        score: The cosine to the query.
        code: The text.
        also: Other places with the same text, as path:line.
    """

    path: str
    line: int
    end: int
    symbol: str
    language: str
    score: float
    code: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Duplicate:
    """Two nearly identical pieces. score: their cosine; 1.0 if the texts are identical."""

    score: float
    first: Hit
    second: Hit


class Index:
    """The index of a folder, for one bundle. A context manager. Use it only in the thread that made it.

    Several processes may read an index while one writes to it.
    """

    def __init__(self, model: Embedder, folder: str | Path, *, index: str | Path | None = None) -> None:
        """Open the index, or create it; `update` fills it.

        Args:
            model: The loaded bundle.
            folder: The folder to index.
            index: The folder to keep the index in; None means one in the user's cache folder, named after `folder` and
                the bundle.

        Raises:
            BundleError: The index was built with a different bundle.
            OutputError: The index cannot be opened, or `index` contains other files.
            OSError: `folder` is not a folder.
        """
        self.folder = Path(folder)
        if not self.folder.exists():
            raise FileNotFoundError(f"{self.folder} does not exist; pass the folder to search")
        if not self.folder.is_dir():
            raise NotADirectoryError(f"{self.folder} is not a folder; pass the folder to search")
        self.place = Path(index) if index is not None else default_place(self.folder, model.bundle.sha256)
        self._model = model
        self._prefix = choose_prompt(model.prompts, "document", None)
        identity = {
            "bundle": model.bundle.sha256,
            "document prompt": self._prefix,
            "max_tokens": str(model.max_tokens),
        }
        self._store = Store(self.place, identity)
        self._version: int | None = None
        self._ids: Rows = np.empty(0, np.int64)
        self._vectors: Array = np.empty((0, model.dim), np.float32)

    def update(self, *, progress: bool = False) -> Update:
        """Update the index. Only changes are embedded. An interrupted update resumes when it is repeated.

        Args:
            progress: Print the rate and the time left.

        Returns:
            What changed, and which files were skipped.

        Raises:
            TextError: The folder contains nothing to index.
            BusyError: Another process is updating this index. A subclass of OutputError.
            MissingDependencyError: tree-sitter-language-pack is not installed.
        """
        self._version = None
        return update(self._store, self.folder, self._model, self._prefix, progress=progress)

    def search(
        self, query: str, count: int = 10, *, languages: Sequence[str] = (), paths: Sequence[str] = ()
    ) -> list[Hit]:
        """Search in words.

        Args:
            query: The question.
            count: The number of results.
            languages: Only these languages, such as "python".
            paths: Only paths that match these .gitignore patterns, such as "src/".

        Returns:
            The pieces nearest to the query, nearest first.

        Raises:
            TextError: The query is empty.
            ArgumentError: The index has no such language, or an argument is out of range.
        """
        if not query.strip():
            raise TextError("the query is empty")
        vector = self._model.embed(query, prompt_name="query")
        return self._hits(vector, count, languages, paths)

    def like(
        self,
        file: str | Path,
        line: int,
        count: int = 10,
        *,
        languages: Sequence[str] = (),
        paths: Sequence[str] = (),
    ) -> list[Hit]:
        """Search by an example: the piece of code at a line of a file, which is not among the results.

        Args:
            file: A file below the index's folder, or any other.
            line: A line of it, from 1.
            count: As in search().
            languages: As in search().
            paths: As in search().

        Returns:
            The nearest pieces, nearest first.

        Raises:
            ArgumentError: No piece covers the line, or an argument is out of range.
        """
        below = self.folder / file
        piece = _piece_at(below if below.exists() else Path(file), line)
        vector = self._model.embed(piece.text, prompt=self._prefix)
        return self._hits(vector, count, languages, paths, without=text_sha256(piece.text))

    def duplicates(self, threshold: float = 0.95, *, progress: bool = False) -> list[Duplicate]:
        """Pairs of nearly identical pieces.

        Identical texts are paired with the first. Short pieces, and pairs that share lines of a file, are skipped.

        Args:
            threshold: The lowest cosine of a pair.
            progress: Print the rate and the time left.

        Returns:
            The pairs, most similar first.

        Raises:
            ArgumentError: The threshold is not between 0 and 1, or admits hundreds of thousands of pairs.
        """
        if not 0 < threshold <= 1:
            raise ArgumentError(f"threshold is {threshold}; pass a cosine between 0 and 1, such as 0.95")
        with self._store.reading() as version:
            self._load(version)
            places: dict[int, list[Place]] = {}
            for place in self._store.places():
                if place.end - place.start + 1 >= LEAST_LINES:
                    places.setdefault(place.text, []).append(place)
            rows = np.flatnonzero(np.isin(self._ids, list(places)))
            found: list[tuple[float, Place, Place]] = [
                (1.0, standing[0], other)
                for standing in places.values()
                for other in standing[1:]
                if not _overlap(standing[0], other)
            ]
            with bar("comparing", len(rows), "pieces", show=progress) as advance:
                for a, b, cosine in near.pairs(self._vectors[rows], threshold, advance):
                    first, second = (places[int(self._ids[rows[row]])][0] for row in (a, b))
                    if (second.path, second.start) < (first.path, first.start):
                        first, second = second, first
                    if not _overlap(first, second):
                        found.append((cosine, first, second))
            found.sort(key=lambda pair: (-pair[0], pair[1].path, pair[1].start, pair[2].path, pair[2].start))
            return [
                Duplicate(score, self._hit(first, score), self._hit(second, score)) for score, first, second in found
            ]

    def file_count(self) -> int:
        """The number of files in the index."""
        return self._store.counts()["files"]

    def close(self) -> None:
        """Close the database. The Index cannot be used afterwards."""
        self._store.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load(self, version: int) -> None:
        """Vectors as the state that is being read has them."""
        if version != self._version:
            self._ids, self._vectors = self._store.vectors(self._model.dim)
            self._version = version

    def _hits(
        self, vector: Array, count: int, languages: Sequence[str], paths: Sequence[str], without: bytes | None = None
    ) -> list[Hit]:
        if count < 1:
            raise ArgumentError(f"count is {count}; pass 1 or more")
        with self._store.reading() as version:
            self._load(version)
            wanted = self._wanted(languages, paths)
            allowed: Rows | None = None
            if wanted is not None:
                allowed = np.flatnonzero(np.isin(self._ids, list(wanted)))
            rows, cosines = nearest(self._vectors, vector, count + (without is not None), allowed)
            hits = []
            for row, cosine in zip(rows, cosines, strict=True):
                id_ = int(self._ids[row])
                text, sha256 = self._store.text(id_)
                if sha256 != without:
                    places = wanted[id_] if wanted is not None else self._store.places(id_)
                    hits.append(_hit(places, text, float(cosine)))
        return hits[:count]

    def _wanted(self, languages: Sequence[str], paths: Sequence[str]) -> dict[int, list[Place]] | None:
        """Texts that stand where they may be looked for, with their places there; None if that is everywhere."""
        if not languages and not paths:
            return None
        held = self._store.languages()
        if unknown := sorted(set(languages) - set(held)):
            raise ArgumentError(f"{self.folder} has no {', '.join(unknown)}; it has {', '.join(held) or 'nothing'}")
        fits = matcher(paths) if paths else None
        wanted: dict[int, list[Place]] = {}
        fitting: dict[str, bool] = {}
        for place in self._store.places():
            if languages and place.language not in languages:
                continue
            if fits is not None:
                if place.path not in fitting:
                    fitting[place.path] = fits(place.path)
                if not fitting[place.path]:
                    continue
            wanted.setdefault(place.text, []).append(place)
        return wanted

    def _hit(self, place: Place, score: float) -> Hit:
        return _hit([place], self._store.text(place.text)[0], score)


def _hit(places: Sequence[Place], text: str, score: float) -> Hit:
    place, *others = places
    also = tuple(f"{other.path}:{other.start}" for other in others)
    return Hit(place.path, place.start, place.end, place.symbol, place.language, score, text, also)


def _piece_at(file: Path, line: int) -> Piece:
    """The smallest piece that covers a line of a file."""
    try:
        source = decode(read_bytes(file))
    except SkippedError as skipped:
        raise ArgumentError(f"{file} is {skipped.reason}; pass a file of code") from None
    pieces = cut(source.text, language_of(file.name, source.text))
    covering = [piece for piece in pieces if piece.start <= line <= piece.end]
    if not covering:
        starts = ", ".join(str(piece.start) for piece in pieces[:10])
        raise ArgumentError(f"{file}: no piece of code at line {line}; pieces start at lines {starts}")
    return min(covering, key=lambda piece: piece.end - piece.start)


def _overlap(first: Place, second: Place) -> bool:
    return first.path == second.path and first.start <= second.end and second.start <= first.end
