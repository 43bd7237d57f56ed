"""Ranks texts by meaning and by words together.

A convex sum: each side's scores are scaled by the best of that side, then added. The less of the query the best text
has by its words, the more the vectors count: keywords and names are found by words, a question in other words than the
code's by meaning. The rule was chosen on the development questions of benchmarks/lab/search_questions with the stand-in
(benchmarks/results/search_questions.json), where reciprocal ranks and constant shares found less; a model with better
vectors may deserve a larger share.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..pma import Array
from .contents import Place
from .identifiers import identifiers, is_identifier, last_name, names, trigrams
from .nearest import Rows

Mode = Literal["hybrid", "semantic", "lexical"]
MODES: tuple[Mode, ...] = get_args(Mode)
MOST_BY_WORDS = 1000  # texts that a query's words bring, unless filters leave fewer
# The vectors' share of a score: MEANING if no text has the query's words, less by LESS if one has them all.
MEANING, LESS = 0.9, 0.7
# Added to the score of a definition: of the identifier that is the query, or of one with a similar name, as people half
# remember names (times Dice's coefficient of the names' trigrams, from LEAST_NEAR on). Lexical NDCG@10 of half
# remembered names was 0.69 without the last and 0.96 with it, for thresholds of 0.3 to 0.6 alike.
SAME_CASE, OTHER_CASE, NEAR_NAME = 2.0, 1.0, 0.9
LEAST_NEAR = 0.5


def fuse(cosines: Array, words: Array, embedded: NDArray[np.bool_], strength: float) -> Array:
    """Scores in 0..1. cosines, words: (n,), of the same texts; words is 0 for a text without a word of the query.

    embedded: (n,), whether there is a cosine; where there is none yet, words alone decide. strength: 0..1, how much of
    the query the best text by words has.
    """
    known = cosines[embedded]
    least, most = (float(np.median(known)), float(known.max())) if len(known) else (0.0, 0.0)
    meaning = np.clip((cosines - least) / max(most - least, 1e-6), 0, 1)
    by_meaning = MEANING - LESS * strength
    named = by_words(words)
    return np.where(embedded, by_meaning * meaning + (1 - by_meaning) * named, named).astype(np.float32)


def by_words(words: Array) -> Array:
    """BM25 as a share of the best."""
    return np.asarray(words / max(float(words.max(initial=0)), 1e-6))


def on_rows(by_id: Mapping[int, float], ids: Rows) -> Array:
    """Scores by text's id as (n,): 0 where there is none."""
    scores = np.zeros(len(ids), np.float32)
    if by_id and len(ids):
        keys = np.fromiter(by_id, np.int64, len(by_id))
        values = np.fromiter(by_id.values(), np.float32, len(by_id))
        rows = np.minimum(np.searchsorted(ids, keys), len(ids) - 1)
        held = ids[rows] == keys
        scores[rows[held]] = values[held]
    return scores


def definitions(query: str, places: Mapping[int, Sequence[Place]]) -> dict[int, float]:
    """What is added to the scores of texts that define what the query names, or something similar; by text's id."""
    identifier = query.strip()
    wanted = [trigrams(name) for name in identifiers(identifier)]
    if not wanted:
        return {}
    folded = identifier.casefold()
    name = last_name(folded) if is_identifier(identifier) else None

    @functools.cache
    def near(found: str) -> float:
        ours = trigrams(found)
        nearest = max(2 * len(ours & one) / (len(ours) + len(one)) for one in wanted)
        return NEAR_NAME * nearest if nearest >= LEAST_NEAR else 0.0

    def score(symbol: str) -> float:
        found = last_name(symbol)
        if found.casefold() == name and names(symbol.casefold(), folded):
            return SAME_CASE if names(symbol, identifier) else OTHER_CASE
        return near(found)

    added = {text: max(score(place.symbol) for place in held) for text, held in places.items()}
    return {text: most for text, most in added.items() if most}
