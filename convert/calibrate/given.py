"""The calibration texts that a user asks for: the default ones, a file's, or a source tree's with the default ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from c2llm_lite.errors import ArgumentError

from .documented_code import says_enough
from .source_tree import Definition, source_files
from .texts import DEFAULT, LEAST_TEXTS, Pairs, Texts, default, read, read_pairs

DEFINITIONS = 250
A_FILE, A_FOLDER = 4, 40  # so that no file's or folder's style dominates


def given(asked: str) -> Texts:
    """asked: "default", a file's path or a folder's. Raises ArgumentError, or OSError for a path that is not there."""
    if asked == DEFAULT:
        return default()
    return of_folder(Path(asked)) if Path(asked).is_dir() else read(Path(asked))


def given_pairs(asked: str) -> Pairs:
    """Those among given()'s texts whose query and text belong together; none among the default ones."""
    if asked == DEFAULT:
        return []
    if not Path(asked).is_dir():
        return read_pairs(Path(asked))
    return [(found.query, found.code) for found in _definitions(Path(asked)) if says_enough(found.query)]


def of_folder(folder: Path) -> Texts:
    """Definitions below `folder` as documents, their documentation as queries, and the default texts.

    They come from a quarter of the files; `bench --data repo:FOLDER` is scored on the others. Raises ArgumentError if
    they are too few to be worth it.
    """
    found = _definitions(folder)
    if len(found) < LEAST_TEXTS:
        raise ArgumentError(
            f"{folder} has {len(found)} definitions in the files that calibration takes, a quarter of all; at "
            f"least {LEAST_TEXTS} are needed: pass a larger source tree, a file of texts, or default"
        )
    beside = default()
    queries = [definition.query for definition in found if says_enough(definition.query)]
    documents = [definition.code for definition in found]
    return {"document": [*beside["document"], *documents], "query": [*beside["query"], *queries]}


def _definitions(folder: Path) -> list[Definition]:
    taken: Counter[str] = Counter()
    found: list[Definition] = []
    for file in source_files(folder, to_calibrate=True):
        above = file.path.rpartition("/")[0]
        chosen = list(file.definitions())[: min(A_FILE, A_FOLDER - taken[above])]
        taken[above] += len(chosen)
        found += chosen
        if len(found) >= DEFINITIONS:
            break
    return found
