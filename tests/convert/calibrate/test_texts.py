"""Calibration texts: from a file, and from installed packages."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from checkpoints import write_checkpoint

from c2llm_lite.benchmarks.bench.pairs import DEVELOPMENT, HELDOUT
from c2llm_lite.convert import convert
from c2llm_lite.convert.calibrate import texts as calibration_texts

FUNCTION = '''def {name}(x):
    """The {name} of a number."""
    y = x * {value}
    return y


'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site-packages folder with three packages of 60 functions, ten to a file, and one that is scored on."""
    folder = tmp_path / "site-packages"
    for number, package in enumerate(("alpha", "beta", "gamma", "sympy")):
        (folder / package / "tests").mkdir(parents=True)
        for file in range(6):
            numbers = range(10 * file, 10 * file + 10)
            functions = (FUNCTION.format(name=f"{package}_{i}", value=1000 * number + i) for i in numbers)
            (folder / package / f"m{file}.py").write_text("".join(functions))
        (folder / package / "tests/a.py").write_text(FUNCTION.format(name="tested", value=7))
        (folder / package / "broken.py").write_text("def (")
    monkeypatch.setattr(calibration_texts.sysconfig, "get_path", lambda _kind: str(folder))
    return folder


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


@pytest.mark.usefixtures("installed")
def test_the_default_is_the_same_each_time_and_another_with_another_seed() -> None:
    texts = calibration_texts.default(pairs=30)
    assert {name: len(found) for name, found in texts.items()} == {"document": 30, "query": 30}
    assert texts == calibration_texts.default(pairs=30)
    assert texts != calibration_texts.default(pairs=30, seed=1)


@pytest.mark.usefixtures("installed")
def test_the_default_takes_some_of_each_package_and_none_that_is_scored_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration_texts, "PAIRS_A_PACKAGE", 8)
    texts = calibration_texts.default()
    for package in ("alpha", "beta", "gamma"):
        assert sum(package in query for query in texts["query"]) == 8
    assert len(texts["query"]) == 24


def test_where_nothing_is_installed_the_remedy_is_reported(installed: Path) -> None:
    for path in installed.rglob("*.py"):
        path.unlink()
    with pytest.raises(ValueError, match="pass your own texts with --calibrate FILE"):
        calibration_texts.default()


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the lists are of Python 3.11")
def test_the_default_holds_nothing_that_is_scored_on() -> None:
    listed = {json.loads(row).get("sha256") for path in (HELDOUT, DEVELOPMENT) for row in path.read_text().splitlines()}
    pairs = calibration_texts._drawn(list(calibration_texts._sources(Path(pytest.__file__).parents[1])), 500, 0)
    assert len(pairs) == 500
    assert not listed & {pair.sha256 for pair in pairs}


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


def test_a_prompt_that_there_is_not_is_named(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "checkpoint")
    with pytest.raises(ValueError, match="no prompt is named 'question'"):
        convert(source, tmp_path / "bundle", "gguf:q4_0", calibrate={"question": ["x"]})
