"""Texts to fit a head on: the calibration texts, and variants of them with other words.

A head that is fitted on few texts learns their subjects. In a variant, most words that few of the texts have are
replaced by words of the tokenizer's vocabulary, each by the same one wherever it stands. So a code's structure and a
question's grammar stay, and the subject is another. Backbone and engine run the variants as they run any text.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from c2llm_lite.text import TextTokenizer

from ..checkpoint import Checkpoint
from .texts import Texts, evenly, token_ids

COPIES = 4  # variants of each text
TOKENS = 250_000  # of all texts, about: fewer variants where they would be more, then fewer texts
WORD = re.compile(r"[A-Za-z][a-z]+|[A-Z]+(?![a-z])")  # also a part of a name: of `readLine`, `read` and `Line`
COMMON = 0.03  # of the texts have such a word: a keyword, or one of grammar
SHORTEST = 3  # letters
NEW = re.compile("Ġ([a-z]{3,10})")  # a whole word, as byte-level BPE spells it
REPLACED = 0.8  # of the words that are not common
SEED = 0


class HeadTexts(NamedTuple):
    """Token ids of texts, and for each the number of the calibration text that it is, or is a variant of."""

    ids: list[Sequence[int]]
    origins: list[int]


def head_texts(checkpoint: Checkpoint, calibrate: Texts, tokens: int = TOKENS) -> HeadTexts:
    """The different calibration texts, or some from all over, and then variants; about `tokens` tokens at most.

    The same texts give the same, in whatever order.
    """
    tokenizer = TextTokenizer(checkpoint.tokenizer_file, checkpoint.max_tokens)
    texts = {name: sorted(set(given)) for name, given in sorted(calibrate.items())}
    ids: list[Sequence[int]] = [*token_ids(tokenizer, texts)]
    copies = min(COPIES, round(tokens / sum(map(len, ids))) - 1)
    if copies < 1:
        few = evenly(ids, tokens)
        return HeadTexts(few, list(range(len(few))))
    own = list(range(len(ids)))
    words = _Words([text for given in texts.values() for text in given], _vocabulary(checkpoint))
    for _ in range(copies):
        varied = {name: [words.replaced(text) for text in given] for name, given in texts.items()}
        ids += token_ids(tokenizer, varied)
    return HeadTexts(ids, own * (1 + copies))


def _vocabulary(checkpoint: Checkpoint) -> list[str]:
    """The tokens that are a word of lower-case letters."""
    tokens = json.loads(checkpoint.tokenizer_file.read_text(encoding="utf-8"))["model"]["vocab"]
    return [found[1] for token in tokens if (found := NEW.fullmatch(token))]


class _Words:
    """Which words of some texts are replaced, and by what."""

    def __init__(self, texts: Sequence[str], new: Iterable[str]) -> None:
        counts = Counter(word for text in texts for word in {word.lower() for word in WORD.findall(text)})
        often = max(1, COMMON * len(texts))
        self._kept = {word for word, count in counts.items() if count > often or len(word) < SHORTEST}
        self._new = sorted(set(new) | (counts.keys() - self._kept))
        self._draws = np.random.default_rng(SEED)

    def replaced(self, text: str) -> str:
        """Another variant of the text at each call."""
        chosen: dict[str, str] = {}

        def other(match: re.Match[str]) -> str:
            word = match[0]
            lower = word.lower()
            if lower in self._kept:
                return word
            if lower not in chosen:
                replaced = self._draws.random() < REPLACED
                chosen[lower] = self._new[self._draws.integers(len(self._new))] if replaced else lower
            new = chosen[lower]
            return new.upper() if word.isupper() else new.capitalize() if word[0].isupper() else new

        return WORD.sub(other, text)
