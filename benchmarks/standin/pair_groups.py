"""What the stand-in's updates are trained on: groups of pairs of one package, Python's and other languages' mixed.

A group's pairs come from one package, so that a batch holds code that resembles the right one. Questions vary in form:
a whole first paragraph, its first sentence alone, and a web search's words. Some code comes as tokens joined by blanks,
as CodeXGLUE's tasks have it (arXiv 2102.04664).
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path, PurePosixPath

from c2llm_lite.convert.calibrate.documented_code import Pair
from c2llm_lite.durable import durable
from c2llm_lite.text import DOCUMENT_PROMPT, QUERY_PROMPTS, prompts

from ..bench.pairs import training_pairs
from .other_languages import pairs_of_archives

# sha256 of pairs that occur in CosQA or in CodeXGLUE's ClozeTest, by their question or by 30% of their code's words in
# runs of 12: the stand-in is scored on those.
LEFT_OUT = Path(__file__).with_name("scored_elsewhere.txt")
GROUP = 16
PAIRS_A_PACKAGE = 320  # of a Python package: the last by their hashes, where the head's training took the first
PAIRS_AN_ARCHIVE = 640
PYTHON_SHARE = 3, 5  # of the groups
LANGUAGES = {".ts": "javascript", ".js": "javascript", ".mjs": "javascript", ".rs": "rust"}

Group = list[Pair]


def kept_groups(packages: Path, archives: Path, kept: Path) -> list[Group]:
    """groups(), from the file `kept` if an earlier run left it there."""
    if not kept.exists():
        rows = [
            [[pair.module, pair.name, pair.query, pair.code] for pair in group] for group in groups(packages, archives)
        ]
        with durable(kept) as file:
            file.write(json.dumps(rows).encode())
    return [[Pair(*row) for row in group] for group in json.loads(kept.read_bytes())]


def groups(packages: Path, archives: Path) -> list[Group]:
    """All groups in the order of training: languages alternate, and packages within a language."""
    random_ = random.Random(0)
    left_out = set(LEFT_OUT.read_text(encoding="utf-8").split())
    python = [p for p in training_pairs([packages]) if p.sha256 not in left_out]
    by_package: dict[str, list[Pair]] = defaultdict(list)
    for pair in sorted(python, key=lambda pair: pair.sha256):
        by_package[pair.module.partition(".")[0]].append(pair)
    of_python = [g for pairs in by_package.values() for g in _cut(pairs[-PAIRS_A_PACKAGE:])]
    random_.shuffle(of_python)

    by_language: dict[str, list[Group]] = defaultdict(list)
    seen = {p.sha256 for p in python} | left_out
    by_archive: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in pairs_of_archives(archives, PAIRS_AN_ARCHIVE):
        if pair.sha256 not in seen:
            by_archive[_language(pair), pair.module.partition("/")[0]].append(pair)
            seen.add(pair.sha256)
    for (language, _), pairs in by_archive.items():
        by_language[language] += _cut(pairs)
    for found in by_language.values():
        random_.shuffle(found)
    others = [g for row in zip_longest(*(by_language[name] for name in sorted(by_language))) for g in row if g]
    return list(_mixed(of_python, others))


def _cut(pairs: list[Pair]) -> list[Group]:
    """Whole groups; what is left over is dropped."""
    return [pairs[i : i + GROUP] for i in range(0, len(pairs) - GROUP + 1, GROUP)]


def _mixed(python: Iterable[Group], others: Iterable[Group]) -> Iterator[Group]:
    """PYTHON_SHARE of Python's and the rest of the others', until either ends."""
    sources = [iter(python), iter(others)]
    share, whole = PYTHON_SHARE
    while True:
        for place in range(whole):
            group = next(sources[place >= share], None)
            if group is None:
                return
            yield group


def _language(pair: Pair) -> str:
    suffix = PurePosixPath(pair.module).suffix
    return LANGUAGES.get(suffix, suffix.removeprefix(".")) if "/" in pair.module else "python"


def question(pair: Pair, draw: random.Random) -> str:
    """The pair's query with its prompt, in one of the forms that questions have."""
    first = re.split(r"(?<=[.!?])\s", pair.query)[0]
    form = draw.random()
    if form < 0.15:  # as one types into a search engine
        words = " ".join(re.findall(r"[\w'-]+", first.lower()))
        language = _language(pair)
        words = draw.choice([words, words, f"{language} {words}", f"{words} {language}", f"{words} in {language}"])
        return f"{QUERY_PROMPTS['CosQA']}\n{words}"
    text = first if form < 0.4 else pair.query
    return prompts()["query"] + (_spaced(text) if _is_spaced(pair) else text)


def answer(pair: Pair) -> str:
    """The pair's code with its prompt."""
    return DOCUMENT_PROMPT + (_spaced(pair.code) if _is_spaced(pair) else pair.code)


def _is_spaced(pair: Pair) -> bool:
    """Of a tenth of the Python pairs and a third of the others, question and code are tokens joined by blanks."""
    return int(pair.sha256[:4], 16) / 0x10000 < (0.1 if _language(pair) == "python" else 0.33)


def _spaced(text: str) -> str:
    return " ".join(re.findall(r"\w+|[^\w\s]", text))
