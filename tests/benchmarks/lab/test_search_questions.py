"""The questions of the search's benchmark, and how an answer is scored."""

from __future__ import annotations

from collections import Counter

import pytest

from c2llm_lite.benchmarks.lab.search_questions import ripgrep
from c2llm_lite.benchmarks.lab.search_questions.packages import PACKAGES
from c2llm_lite.benchmarks.lab.search_questions.questions import (
    DEVELOPMENT,
    HELD_OUT,
    KINDS,
    Question,
    by_kind,
    gain,
    is_answer,
    questions,
)
from c2llm_lite.search import Hit
from c2llm_lite.search.contents import Place

PUSH = Question(DEVELOPMENT, "identifier", "pushItem", "stack.py", "Stack.push_item")


def test_questions_are_of_three_kinds_in_two_halves() -> None:
    halves = {half: questions(half) for half in (DEVELOPMENT, HELD_OUT)}
    assert sum(map(len, halves.values())) >= 240
    for asked in halves.values():
        counts = Counter(question.kind for question in asked)
        assert set(counts) == set(KINDS)
        assert max(counts.values()) - min(counts.values()) <= 5
    every = [question.question for asked in halves.values() for question in asked]
    assert len(set(every)) == len(every)
    names = {package.name for package in PACKAGES}
    assert {question.path.split("/")[0] for asked in halves.values() for question in asked} == names


@pytest.mark.parametrize(("ranks", "expected"), [([True], 1.0), ([False, True], 0.631), ([False] * 10 + [True], 0.0)])
def test_gain(ranks: list[bool], expected: float) -> None:
    assert gain(ranks) == pytest.approx(expected, abs=1e-3)


def test_an_answer_is_the_definition_wherever_the_same_text_is() -> None:
    hit = Hit("stack.py", 3, 5, "Stack.push_item", "python", 0.5, "", also=("copy.py:3",))
    assert is_answer(PUSH, hit)
    assert is_answer(Question(DEVELOPMENT, "plain", "", "copy.py", "Stack.push_item"), hit)
    assert not is_answer(Question(DEVELOPMENT, "plain", "", "stack.py", "Stack.pop"), hit)


def test_means_by_kind() -> None:
    asked = [Question(HELD_OUT, kind, "", "", "") for kind in (*KINDS, "plain")]
    assert by_kind(asked, [1.0, 1.0, 0.0, 0.0]) == {"all": 0.5, "plain": 0.5, "identifier": 1.0, "keywords": 0.0}


def test_ripgreps_pieces_are_ranked_by_the_words_in_them(tmp_path, monkeypatch) -> None:
    places = [
        Place(1, "a.py", "python", 1, 9, "Stack"),
        Place(2, "a.py", "python", 2, 3, "Stack.push"),
        Place(3, "b.py", "python", 1, 5, "pop"),
    ]
    lines = [("a.py", 2, "push"), ("a.py", 3, "item"), ("a.py", 8, "push"), ("b.py", 1, "item"), ("b.py", 2, "item")]
    monkeypatch.setattr(ripgrep, "_matches", lambda tree, words: lines if words == ["push", "item"] else [])
    assert [place.symbol for place in ripgrep.ranked(tmp_path, "Push an item", places, 10)] == [
        "Stack.push",
        "pop",
        "Stack",
    ]
