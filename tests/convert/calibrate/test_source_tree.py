"""A source tree's definitions: two parts that share no file, whichever folder above is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from c2llm_lite.convert.calibrate import given
from c2llm_lite.convert.calibrate.source_tree import source_files
from c2llm_lite.errors import ArgumentError

GO = "// Area{n} returns the area of shape {n}.\nfunc Area{n}(x int) int {{\n\ty := x * {n}\n\treturn y\n}}\n\n"
PYTHON = 'def area_{n}(x):\n    """Return the area of shape {n}."""\n    y = x * {n}\n    return y\n\n\n'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """40 files of four functions each, in two languages; a test, a data file and an ignored file."""
    top = tmp_path / "project"
    for number in range(40):
        suffix, template = (".go", GO) if number % 2 else (".py", PYTHON)
        path = top / f"package_{number % 5}" / f"file_{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(template.format(n=10 * number + i) for i in range(4)))
    (top / "package_0" / "test_it.py").write_text(PYTHON.format(n=999))
    (top / "notes.txt").write_text("not code\n" * 10)
    (top / ".gitignore").write_text("made.py\n")
    (top / "made.py").write_text(PYTHON.format(n=998))
    return top


def parts(folder: Path) -> tuple[set[str], set[str]]:
    return tuple({file.path for file in source_files(folder, to_calibrate=which)} for which in (True, False))


def test_the_two_parts_share_no_file_and_leave_out_tests(tree: Path) -> None:
    fitted, scored = parts(tree)
    assert not fitted & scored
    assert len(fitted | scored) == 40
    assert 4 <= len(fitted) <= 16
    assert not [path for path in fitted | scored if "test" in path or "made" in path]


def test_the_parts_do_not_depend_on_the_folder_above(tree: Path) -> None:
    fitted, scored = parts(tree)
    for package in tree.glob("package_*"):
        below = tuple({f"{package.name}/{path}" for path in part} for part in parts(package))
        assert below[0] <= fitted
        assert below[1] <= scored


def test_definitions_have_their_place_and_their_documentation(tree: Path) -> None:
    files = [file for which in (True, False) for file in source_files(tree, to_calibrate=which)]
    (go,) = (file for file in files if file.path == "package_1/file_1.go")
    first, second, *_ = go.definitions()
    assert (first.start, first.end, first.symbol) == (1, 5, "Area10")
    assert (second.start, second.end) == (7, 11)
    assert first.query == "Area10 returns the area of shape 10."
    assert first.code == "func Area10(x int) int {\n\ty := x * 10\n\treturn y\n}"


def test_a_folder_s_code_joins_the_default_texts(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given, "default", lambda: {"document": ["d"], "query": ["q"]})
    found = given.given(str(tree))
    fitted, _ = parts(tree)
    assert len(found["document"]) == 1 + 4 * len(fitted)
    assert len(found["query"]) == len(found["document"])
    assert found["document"][0] == "d"
    assert found == given.given(str(tree))


def test_what_a_user_asks_for(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given, "default", lambda: {"document": ["d"]})
    assert given.given("default") == {"document": ["d"]}
    (tmp_path / "texts.jsonl").write_text('{"text": "mine"}\n')
    assert given.given(str(tmp_path / "texts.jsonl")) == {"document": ["mine"]}
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ArgumentError, match="has 0 definitions in the files that calibration takes, a quarter of all"):
        given.given(str(empty))
    with pytest.raises(OSError, match="nowhere"):
        given.given(str(tmp_path / "nowhere"))
