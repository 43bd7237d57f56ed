"""Groups of pairs for training: of one package each, languages mixed, nothing of what is scored."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from c2llm_lite.benchmarks.standin import pair_groups
from c2llm_lite.benchmarks.standin.pair_groups import GROUP, answer, groups, kept_groups, question
from c2llm_lite.convert.calibrate.documented_code import Pair
from c2llm_lite.text import DOCUMENT_PROMPT, QUERY_PROMPTS, prompts


def pairs(module: str, count: int) -> list[Pair]:
    return [
        Pair(module, f"f{i}", f"Return the {module} number {i}. Slowly.", f"def f{i}():\n    {module}\n    return {i}")
        for i in range(count)
    ]


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    left_out = tmp_path / "left_out.txt"
    left_out.write_text(pairs("b", 1)[0].sha256 + "\n" + pairs("go/x.go", 1)[0].sha256 + "\n")
    monkeypatch.setattr(pair_groups, "LEFT_OUT", left_out)
    monkeypatch.setattr(
        pair_groups, "training_pairs", lambda folders: [p for m in ("a", "b", "c.d") for p in pairs(m, 60)]
    )
    other = [p for m in ("go/x.go", "rs/x.rs", "ts/x.ts") for p in pairs(m, 40)]
    monkeypatch.setattr(pair_groups, "pairs_of_archives", lambda folder, most: iter(other))


def test_a_group_is_of_one_package_and_two_of_five_are_not_python(sources: None, tmp_path: Path) -> None:
    found = groups(tmp_path, tmp_path)
    assert all(len(group) == GROUP for group in found)
    tops = [{pair.module.partition("/")[0] for pair in group} for group in found]
    assert all(len(top) == 1 for top in tops)
    python = [next(iter(top)) in {"a", "b", "c.d"} for top in tops]
    assert python[:10] == [True, True, True, False, False] * 2
    chosen = [pair.sha256 for group in found for pair in group]
    assert len(set(chosen)) == len(chosen)
    assert not {pairs("b", 1)[0].sha256, pairs("go/x.go", 1)[0].sha256} & set(chosen)
    kept = tmp_path / "kept.json"
    assert kept_groups(tmp_path, tmp_path, kept) == found == kept_groups(tmp_path, tmp_path, kept)


def test_questions_take_the_forms_that_searches_have() -> None:
    draw = random.Random(0)
    asked = [(pair, question(pair, draw)) for pair in (*pairs("a", 300), *pairs("go/x.go", 300))]
    web = [text for _, text in asked if text.startswith(QUERY_PROMPTS["CosQA"])]
    assert 0.1 < len(web) / len(asked) < 0.2
    assert not any(character in text.partition("\n")[2] for text in web for character in ".R")
    assert any("in go" in text for text in web)
    rest = [text for _, text in asked if text.startswith(prompts()["query"])]
    assert len(rest) + len(web) == len(asked)
    assert 0.2 < sum("Slowly" not in text for text in rest) / len(rest) < 0.4
    spaced = [pair for pair, _ in asked if " ( ) :" in answer(pair)]
    assert 0.15 < len(spaced) / len(asked) < 0.3
    assert all(answer(pair).startswith(DOCUMENT_PROMPT) for pair, _ in asked)
