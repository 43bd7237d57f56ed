"""The index of a folder: update, search in words or by code, and duplicates."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from numbers import Real
from pathlib import Path

import numpy as np

from ..arguments import as_path, check_whole, check_words
from ..embedder import Embedder
from ..errors import ArgumentError, OutputError, TextError
from ..pma import Array
from ..text import choose_prompt
from . import duplicates as near
from . import ranking
from .cache import default_place
from .contents import Contents, Place
from .example import piece_at
from .hits import Duplicate, Hit, hit
from .nearest import highest
from .on_demand import OnDemand
from .store import Store
from .update import Request, Update, text_sha256, update
from .walk import matcher

log = logging.getLogger(__name__)


class Index:
    """The index of a folder, for one bundle. A context manager. Use it only in the thread that made it.

    Several processes may read an index while one writes to it.
    """

    def __init__(self, model: Embedder | OnDemand, folder: str | Path, *, index: str | Path | None = None) -> None:
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
        self.folder = as_path(folder, "folder")
        if not self.folder.exists():
            raise FileNotFoundError(f"{self.folder} does not exist; pass the folder to search")
        if not self.folder.is_dir():
            raise NotADirectoryError(f"{self.folder} is not a folder; pass the folder to search")
        self.place = as_path(index, "index") if index is not None else default_place(self.folder, model.bundle.sha256)
        self._model = model
        self._prefix = choose_prompt(model.prompts, "document", None)
        identity = {
            "bundle": model.bundle.sha256,
            "document prompt": self._prefix,
            "max_tokens": str(model.max_tokens),
        }
        self._store = Store(self.place, identity)
        self._version: int | None = None
        self._words = False  # whether the state that was read has a lexical side
        self._contents = Contents(np.empty(0, np.int64), np.empty((0, model.dim), np.float32), np.empty(0, bool))

    def update(
        self,
        *,
        progress: bool = False,
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        seconds: float | None = None,
        verify: bool = False,
    ) -> Update:
        """Update the index. Only changes are embedded. An interrupted update resumes when it is repeated.

        Args:
            progress: Print the rate and the time left.
            exclude: Leave out what these .gitignore patterns match, such as "tests/". Files of the index that are left
                out now are removed from it.
            include: Index only what these .gitignore patterns match, such as "*.py".
            seconds: Stop embedding after about this time, and leave the rest to a later update; None embeds all. Words
                and names of every file are indexed in any case.
            verify: Read every file, also if its size, time and inode are those that the index has.

        Returns:
            What changed, and which files were skipped.

        Raises:
            TextError: The folder contains nothing to index.
            BusyError: Another process is updating this index. A subclass of OutputError.
            MissingDependencyError: tree-sitter-language-pack is not installed.
        """
        for name, patterns in (("exclude", exclude), ("include", include)):
            check_words(name, patterns)
        self._version = None
        request = Request(exclude, include, verify, seconds, progress)
        return update(self._store, self.folder, self._model, self._prefix, request)

    def search(
        self,
        query: str,
        count: int = 10,
        *,
        mode: ranking.Mode = "hybrid",
        languages: Sequence[str] = (),
        paths: Sequence[str] = (),
    ) -> list[Hit]:
        """Search in words or by name.

        Args:
            query: The question.
            count: The number of results.
            mode: "semantic" ranks by vectors, "lexical" by words and identifiers (BM25), "hybrid" by both. Except in
                "semantic", definitions of the identifier that is the query come first.
            languages: Only these languages, such as "python".
            paths: Only paths that match these .gitignore patterns, such as "src/".

        Returns:
            The best pieces, best first.

        Raises:
            TextError: The query is empty.
            ArgumentError: The index has no such language, or an argument is out of range.
            OutputError: mode is "lexical", and the index has no lexical side.
        """
        if not isinstance(query, str) or not query.strip():
            raise TextError("the query is empty")
        if mode not in ranking.MODES:
            raise ArgumentError(f"mode is {mode!r}; pass one of {', '.join(ranking.MODES)}")
        vector = self._model.embed(query, prompt_name="query") if mode != "lexical" else None
        return self._hits(vector, count, (languages, paths), words=query if mode != "semantic" else None)

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
        file = as_path(file, "file")
        check_whole("line", line)
        below = self.folder / file
        piece = piece_at(below if below.exists() else file, line)
        vector = self._model.embed(piece.text, prompt=self._prefix)
        return self._hits(vector, count, (languages, paths), without=text_sha256(piece.text))

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
        if not isinstance(threshold, Real) or not 0 < threshold <= 1:
            raise ArgumentError(f"threshold is {threshold}; pass a cosine between 0 and 1, such as 0.95")
        with self._store.reading() as version:
            self._load(version)
            return [
                Duplicate(score, self._hit(first, score), self._hit(second, score))
                for score, first, second in near.places(self._contents, threshold, progress=progress)
            ]

    def file_count(self) -> int:
        """The number of files in the index."""
        return self._store.counts()["files"]

    def coverage(self) -> tuple[int, int]:
        """How many pieces have their vector, and how many there are."""
        counts = self._store.counts()
        return counts["pieces"] - counts["without vector"], counts["pieces"]

    def close(self) -> None:
        """Close the database. The Index cannot be used afterwards."""
        self._store.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load(self, version: int) -> None:
        """The contents of the state that is being read."""
        if version != self._version:
            self._contents = self._store.contents(self._model.dim)
            self._words = self._store.lexical.is_current()
            self._version = version

    def _hits(
        self,
        vector: Array | None,
        count: int,
        only: tuple[Sequence[str], Sequence[str]],
        *,
        words: str | None = None,
        without: bytes | None = None,
    ) -> list[Hit]:
        """vector: None in a lexical search. words: None in a semantic one. only: languages and paths."""
        languages, paths = only
        check_whole("count", count)
        check_words("languages", languages)
        check_words("paths", paths)
        for path in paths:
            as_path(path, "one of paths")
        with self._store.reading() as version:
            self._load(version)
            ids, places = self._contents.ids, self._contents.places
            limit = ranking.MOST_BY_WORDS
            allowed = np.ones(len(ids), bool)
            if languages or paths:
                places = self._wanted(languages, paths)
                allowed, limit = np.isin(ids, list(places)), len(ids)
            if vector is not None and words is None:
                scores = self._contents.vectors @ vector
                allowed &= self._contents.embedded
            else:
                scores = self._scores(vector, words or "", limit)
                allowed &= (scores > 0) | (self._contents.embedded if vector is not None else False)
            rows, best = highest(scores, count + (without is not None), np.flatnonzero(allowed))
            hits = []
            for row, score in zip(rows, best, strict=True):
                id_ = int(ids[row])
                (text,) = self._store.texts([id_])
                if without is None or text_sha256(text) != without:
                    hits.append(hit(places[id_], text, float(score)))
        return hits[:count]

    def _scores(self, vector: Array | None, words: str, limit: int) -> Array:
        """(n,), of every text, by words and, unless `vector` is None, by meaning. limit: texts that words bring."""
        contents = self._contents
        cosines = contents.vectors @ vector if vector is not None else None
        if not self._has_words(needed=cosines is None):
            assert cosines is not None
            return cosines
        found = self._store.lexical.scores(words, limit)
        lexical = ranking.on_rows(found, contents.ids)
        if cosines is None:
            scores = ranking.by_words(lexical)
        else:
            strength = self._store.lexical.strength(words, max(found.values(), default=0.0))
            scores = ranking.fuse(cosines, lexical, contents.embedded, strength)
        return scores + ranking.on_rows(ranking.definitions(words, contents.places), contents.ids)

    def _has_words(self, *, needed: bool) -> bool:
        """Whether the index has a lexical side. Raises OutputError if it has none and one is needed."""
        if self._words:
            return True
        why = self._store.lexical.missing()
        if needed:
            raise OutputError(f"{self.place}: {why}, or search in the mode semantic")
        log.warning("%s: %s; this search is by vectors alone", self.place, why)
        return False

    def _wanted(self, languages: Sequence[str], paths: Sequence[str]) -> dict[int, list[Place]]:
        """Texts that stand where they may be looked for, with their places there."""
        held = self._contents.languages()
        if unknown := sorted(set(languages) - set(held)):
            raise ArgumentError(f"{self.folder} has no {', '.join(unknown)}; it has {', '.join(held) or 'nothing'}")
        fits = functools.cache(matcher(paths)) if paths else lambda path: True
        return self._contents.where(lambda place: (not languages or place.language in languages) and fits(place.path))

    def _hit(self, place: Place, score: float) -> Hit:
        return hit([place], self._store.texts([place.text])[0], score)
