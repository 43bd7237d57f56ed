"""The calibration texts that a user asks for: the default ones, a file's, or a source tree's with the default ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from c2llm_lite.errors import ArgumentError

from .documented_code import says_enough
from .source_tree import source_files
from .texts import DEFAULT, LEAST_TEXTS, Texts, default, read

DEFINITIONS = 250
A_FILE, A_FOLDER = 4, 40  # so that no file's or folder's style dominates


def given(asked: str) -> Texts:
    """asked: "default", a file's path or a folder's. Raises ArgumentError, or OSError for a path that is not there."""
    if asked == DEFAULT:
        return default()
    return of_folder(Path(asked)) if Path(asked).is_dir() else read(Path(asked))


def of_folder(folder: Path) -> Texts:
    """Definitions below `folder` as documents, their documentation as queries, and the default texts.

    They come from a quarter of the files; `bench --data repo:FOLDER` is scored on the others. Raises ArgumentError if
    they are too few to be worth it.
    """
    documents: list[str] = []
    queries: list[str] = []
    taken: Counter[str] = Counter()
    for file in source_files(folder, to_calibrate=True):
        above = file.path.rpartition("/")[0]
        for definition in list(file.definitions())[: min(A_FILE, A_FOLDER - taken[above])]:
            taken[above] += 1
            documents.append(definition.code)
            if says_enough(definition.query):
                queries.append(definition.query)
        if len(documents) >= DEFINITIONS:
            break
    if len(documents) < LEAST_TEXTS:
        raise ArgumentError(
            f"{folder} has {len(documents)} definitions in the files that calibration takes, a quarter of all; at "
            f"least {LEAST_TEXTS} are needed: pass a larger source tree, a file of texts, or default"
        )
    beside = default()
    return {"document": [*beside["document"], *documents], "query": [*beside["query"], *queries]}
