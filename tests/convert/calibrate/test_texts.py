"""Calibration texts: from a file, and the default ones."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from checkpoints import write_checkpoint

from c2llm_lite import jsonl
from c2llm_lite.benchmarks.bench.pairs import DEVELOPMENT, HELDOUT
from c2llm_lite.convert import calibration_ids, convert
from c2llm_lite.convert.calibrate import layers
from c2llm_lite.convert.calibrate import texts as calibration_texts
from c2llm_lite.convert.calibrate.documented_code import Pair, pairs_of
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.pma import Array

SCRIPTS = {"Python", "JavaScript", "TypeScript", "PHP", "Ruby", "SQL", "shell"}
LANGUAGES = SCRIPTS | {"Java", "Go", "Rust", "C", "C++", "C#"}
PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


def test_a_file_s_texts_go_by_their_prompt(tmp_path: Path) -> None:
    rows = [{"text": "def f(): pass"}, {"text": "do nothing", "prompt_name": "query"}, {"text": "def g(): pass"}]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = calibration_texts.read(tmp_path / "t.jsonl")
    assert texts == {"document": ["def f(): pass", "def g(): pass"], "query": ["do nothing"]}


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('\n{"text": "x"}\nno json\n')
    with pytest.raises(ValueError, match="line 3: not JSON: Expecting value"):
        calibration_texts.read(tmp_path / "t.jsonl")


@pytest.mark.parametrize("line", ["[]", "5", "{}", '{"text": 5}', '{"text": "x", "prompt_name": 5}'])
def test_a_line_that_is_no_text_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "x"}\n' + line + "\n")
    with pytest.raises(ValueError, match="line 2: not a JSON object with a string in the field `text`"):
        calibration_texts.read(tmp_path / "t.jsonl")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="contains no texts"):
        calibration_texts.read(tmp_path / "t.jsonl")


def test_the_default_texts_are_code_in_many_languages_and_questions() -> None:
    rows = [row for _, row in jsonl.read(calibration_texts.DEFAULT_TEXTS)]
    assert len({row["text"] for row in rows}) == len(rows) == 350
    code = [row for row in rows if row["prompt_name"] == "document"]
    questions = [row for row in rows if row["prompt_name"] == "query"]
    assert (len(code), len(questions)) == (200, 150)
    pieces = Counter(row["language"] for row in code)
    assert pieces.keys() == LANGUAGES
    assert min(pieces.values()) >= 15
    assert all(200 <= len(row["text"]) <= 1_500 for row in code)
    assert all(len(row["text"]) >= 10 and len(row["text"].split()) <= 25 for row in questions)
    spoken = Counter(row["language"] for row in questions)
    assert 0.8 < spoken["English"] / 150 < 1
    assert len(spoken) >= 5
    texts = calibration_texts.default()
    assert texts == {"document": [row["text"] for row in code], "query": [row["text"] for row in questions]}


def test_the_default_texts_are_in_the_wheel() -> None:
    assert '"c2llm_lite.convert.calibrate" = ["*.jsonl"]' in PYPROJECT.read_text(encoding="utf-8").splitlines()


def test_no_default_text_is_in_a_set_that_results_are_scored_on() -> None:
    listed = [row for path in (HELDOUT, DEVELOPMENT) for _, row in jsonl.read(path)]
    code, questions = _default_hashes()
    assert not code & {row.get("sha256") for row in listed}
    assert not questions & {row.get("query_sha256") for row in listed}


def test_no_default_text_is_in_a_task() -> None:
    """Tasks in BEIR's form, below the folder that the environment variable TASKS names."""
    if "TASKS" not in os.environ:
        pytest.skip("the environment variable TASKS names no folder of tasks in BEIR's form")
    code, questions = _default_hashes()
    folders = [path.parent for path in Path(os.environ["TASKS"]).rglob("corpus.jsonl")]
    assert folders
    for folder in folders:
        assert not code & {_pair(code=row["text"]).sha256 for _, row in jsonl.read(folder / "corpus.jsonl")}
        asked = {_pair(query=row["text"]).query_sha256 for _, row in jsonl.read(folder / "queries.jsonl")}
        assert not questions & asked


def _default_hashes() -> tuple[set[str], set[str]]:
    """Of each piece of code and of each documented function in it; of each question and of their docstrings."""
    texts = calibration_texts.default()
    pairs = [*_functions(texts["document"]), *(_pair(code=text) for text in texts["document"])]
    code = {pair.sha256 for pair in pairs}
    return code, {pair.query_sha256 for pair in [*pairs, *(_pair(query=text) for text in texts["query"])]}


def _functions(code: Iterable[str]) -> Iterable[Pair]:
    for text in code:
        try:
            yield from pairs_of(text, "")
        except (SyntaxError, ValueError):  # not Python, or a part of a class
            continue


def _pair(query: str = "no text is this", code: str = "") -> Pair:
    return Pair("", "", query, code)


def test_the_default_texts_give_the_same_bundle_each_time(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "checkpoint", layers=1)
    made = [
        convert(source, tmp_path / name, "gguf:q4_0", target_probes=False, calibrate=calibration_texts.default())
        for name in ("a", "b")
    ]
    assert made[0].manifest.files == made[1].manifest.files  # sizes and hashes
    noted = made[0].manifest.notes["calibration"]
    assert (noted["default"], noted["texts"]) == (True, 350)
    assert noted["by_prompt"] == {"document": 200, "query": 150}


def test_a_user_s_texts_are_noted_as_such(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "checkpoint", layers=1)
    given = {"document": [f"def f{i}(): pass" for i in range(9)], "query": ["which is it"]}
    noted = convert(source, tmp_path / "bundle", "gguf:q4_0", target_probes=False, calibrate=given).manifest.notes
    assert noted["calibration"]["default"] is False
    assert noted["calibration"]["by_prompt"] == {"document": 9, "query": 1}


@pytest.mark.parametrize("texts", [["a"], ["a"] * 100, [f"def f{i}(): pass" for i in range(7)]])
def test_too_few_different_texts_are_refused(texts: list[str], tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(ValueError, match=r"different calibration texts; at least 8 are needed: give a few hundred"):
        convert(source, tmp_path / "bundle", "gguf:q4_0", calibrate={"document": texts})


@pytest.mark.parametrize(
    ("texts", "tokens", "warned"), [(8, 5000, True), (49, 200, True), (60, 80, True), (60, 90, False)]
)
def test_few_texts_or_tokens_are_warned_of(texts: int, tokens: int, warned: bool, caplog) -> None:
    calibration_texts.check_enough([[i] * tokens for i in range(texts)])
    assert ("are few: give a few hundred texts" in caplog.text) is warned


def test_of_too_many_texts_some_from_all_over_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [[i] * 100 for i in range(50)]
    assert calibration_texts.evenly(ids, 5000) == ids
    assert calibration_texts.evenly(ids, 4999) == ids[::2]
    assert calibration_texts.evenly(ids, 1000) == ids[::5]

    source = write_checkpoint(tmp_path / "checkpoint", layers=1)
    texts = [f"def f{i}(): return {i * i} + 'a number'" for i in range(60)]
    tokens = sum(map(len, calibration_ids(open_checkpoint(source), {"document": texts})))
    monkeypatch.setattr(calibration_texts, "ROUNDING_TOKENS", tokens // 3)
    rounded: list[int] = []
    moments = layers._moments

    def counted(inputs: list[Array]) -> Array:
        rounded.append(sum(map(len, inputs)))
        return moments(inputs)

    monkeypatch.setattr(layers, "_moments", counted)
    made = convert(source, tmp_path / "bundle", "gguf:q4_0", target_probes=False, calibrate={"document": texts})
    assert max(rounded) <= tokens // 3
    assert made.manifest.notes["calibration"]["texts"] == 60


def test_a_prompt_that_there_is_not_is_named(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(ValueError, match="no prompt is named 'question'"):
        convert(source, tmp_path / "bundle", "gguf:q4_0", calibrate={"question": ["x"]})
