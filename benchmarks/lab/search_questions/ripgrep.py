"""The answers that somebody with ripgrep would find: pieces by how many words of the question stand in them."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from c2llm_lite.search.contents import Place

SHORTEST = 3  # letters of a word that is searched for
_STOP = re.compile("and|are|for|from|has|how|its|not|that|the|them|this|when|where|which|who|with")


def ranked(tree: Path, question: str, places: Iterable[Place], count: int) -> list[Place]:
    """The best pieces: first those with the most different words of the question, then with the most matches.

    A line counts for the smallest piece that covers it.
    """
    words = [
        word for word in re.findall(r"\w+", question.lower()) if len(word) >= SHORTEST and not _STOP.fullmatch(word)
    ]
    by_path: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        by_path[place.path].append(place)
    words_of: dict[Place, set[str]] = defaultdict(set)
    matches: dict[Place, int] = defaultdict(int)
    for path, line, word in _matches(tree, words):
        covering = [place for place in by_path.get(path, ()) if place.start <= line <= place.end]
        if covering:
            smallest = min(covering, key=lambda place: place.end - place.start)
            words_of[smallest].add(word)
            matches[smallest] += 1
    return sorted(words_of, key=lambda place: (-len(words_of[place]), -matches[place], place))[:count]


def _matches(tree: Path, words: Sequence[str]) -> list[tuple[str, int, str]]:
    """Path, line and word of each match, whatever its case."""
    if not words:
        return []
    patterns = [part for word in words for part in ("-e", word)]
    command = [
        "rg",
        "--ignore-case",
        "--only-matching",
        "--line-number",
        "--no-heading",
        "--null",
        "-F",
        *patterns,
        ".",
    ]
    done = subprocess.run(command, cwd=tree, capture_output=True, check=False)
    found = []
    for row in done.stdout.decode(errors="replace").splitlines():
        path, _, rest = row.partition("\0")
        line, _, word = rest.partition(":")
        found.append((path.removeprefix("./"), int(line), word.lower()))
    return found
