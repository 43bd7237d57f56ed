"""A source tree as a retrieval task of its own, without labels: `bench --data repo:FOLDER`.

    documentation     a definition's comment or docstring is the query, the definition without it the answer
    commits           in a git repository, a commit's subject is the query; the answers are the definitions whose last
                      change it was

All other definitions are documents too. Files that `--calibrate FOLDER` takes texts from are left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from c2llm_lite.convert.calibrate.documented_code import says_enough, sha256_of_code, sha256_of_words
from c2llm_lite.convert.calibrate.source_tree import Definition, source_files
from c2llm_lite.errors import ArgumentError

from . import commits

LEAST_PAIRS = 50
MOST_QUERIES, MOST_DOCUMENTS = 1_000, 2_000
MOST_CHANGED = 5  # definitions; a commit that changed more says little of each

Parts = tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]


def read(folder: Path) -> Parts:
    """Queries and documents by id, and each query's grades by document's id.

    Raises ArgumentError with fewer than LEAST_PAIRS queries.
    """
    definitions: dict[str, Definition] = {}  # by the code's hash: copies are one document
    subjects: dict[str, set[str]] = defaultdict(set)  # the answers of each
    for file in source_files(folder, to_calibrate=False):
        if len(definitions) >= MOST_DOCUMENTS:
            break
        blamed = commits.of_lines(folder, file)
        for definition in file.definitions():
            key = sha256_of_code(definition.code)
            definitions.setdefault(key, definition)
            if last := commits.last_change(blamed, definition):
                subjects[last].add(key)
    queries, relevant = _documentation(definitions)
    for subject, answers in sorted(subjects.items()):
        if len(answers) <= MOST_CHANGED and says_enough(subject):
            queries[f"commit: {subject}"] = subject
            relevant[f"commit: {subject}"] = dict.fromkeys(sorted(answers), 1)
    if len(queries) < LEAST_PAIRS:
        raise ArgumentError(
            f"{folder} gives {len(queries)} queries, from documented definitions and commits; at least {LEAST_PAIRS} "
            "are needed for a score: pass a larger folder, or a task in BEIR's format"
        )
    kept = sorted(queries, key=sha256_of_words)[:MOST_QUERIES]
    names = {key: _name(definition) for key, definition in definitions.items()}
    return (
        {query: queries[query] for query in kept},
        {names[key]: definition.code for key, definition in definitions.items()},
        {query: {names[key]: grade for key, grade in relevant[query].items()} for query in kept},
    )


def _documentation(definitions: dict[str, Definition]) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Queries and their answers. The same words about different code ask for nothing in particular."""
    pairs = [(key, d) for key, d in definitions.items() if says_enough(d.query)]
    said = Counter(sha256_of_words(definition.query) for _, definition in pairs)
    alone = {_name(d): (key, d.query) for key, d in pairs if said[sha256_of_words(d.query)] == 1}
    return {name: query for name, (_, query) in alone.items()}, {name: {key: 1} for name, (key, _) in alone.items()}


def _name(definition: Definition) -> str:
    return f"{definition.path}:{definition.start} {definition.symbol}"
