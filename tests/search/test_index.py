"""An index matches its folder, embeds only changes, and finds them."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from index_content import content

from c2llm_lite.errors import ArgumentError, TextError
from c2llm_lite.search import Index
from c2llm_lite.search import look as looking

# What is found.


def test_a_question_finds_the_function(index: Index) -> None:
    hits = index.search("read jsonl path", count=3)
    assert len(hits) == 3
    assert (hits[0].path, hits[0].line, hits[0].end, hits[0].symbol) == ("files.py", 4, 6, "read_jsonl")
    assert hits[0].language == "python"
    assert hits[0].code.startswith("def read_jsonl(path):")
    assert hits[0].score >= hits[1].score >= hits[2].score
    assert index.search("quick brown fox", count=1)[0].path == "notes.md"


def test_only_the_languages_and_paths_asked_for_are_looked_through(index: Index) -> None:
    assert {hit.language for hit in index.search("item", languages=["go", "text"])} == {"go", "text"}
    assert {hit.path for hit in index.search("circle", paths=["shapes/"])} == {"shapes/circle.py"}
    assert index.search("circle", languages=["go"], paths=["*.py"]) == []
    with pytest.raises(ValueError, match="has no cobol; it has go, python, text"):
        index.search("circle", languages=["cobol"])


def test_code_like_a_line_of_a_file(index: Index, tree: Path, tmp_path: Path) -> None:
    (tree / "copy.py").write_text("import json\n\n\ndef read_jsonl(file, path):\n    return [json.loads(path)]\n")
    index.update()
    hits = index.like("copy.py", 5, count=20)
    assert hits[0].symbol == "read_jsonl"
    assert hits[0].path == "files.py"
    assert "copy.py" not in [hit.path for hit in hits if hit.symbol]
    shutil.move(tree / "copy.py", tmp_path / "elsewhere.py")
    index.update()
    assert index.like(tmp_path / "elsewhere.py", 4)[0].path == "files.py"
    with pytest.raises(ValueError, match="no piece of code at line 99"):
        index.like("files.py", 99)
    with pytest.raises(FileNotFoundError):
        index.like("nowhere.py", 1)


def test_identical_texts_are_embedded_once_and_found_together(model: Any, index: Index, tree: Path) -> None:
    embedded = len(model.texts)
    (tree / "again.py").write_text("import os\n\n" + (tree / "files.py").read_text().partition("\n")[2])
    done = index.update()
    assert (done.changed, done.embedded) == (1, 0)
    assert len(model.texts) == embedded
    hit = index.search("read jsonl path", count=1)[0]
    assert (hit.path, hit.also) == ("again.py", ("files.py:4",))
    only = index.search("read jsonl path", count=1, paths=["files.py"])[0]
    assert (only.path, only.also) == ("files.py", ())


def test_duplicates(index: Index, tree: Path) -> None:
    function = "def total(values):\n    sum = 0\n    for value in values:\n        sum += value\n    return sum\n"
    (tree / "one.py").write_text(function)
    (tree / "shapes" / "two.py").write_text("\n\n\n" + function)
    (tree / "three.py").write_text(function.replace("values", "numbers"))
    index.update()
    found = index.duplicates(0.8)
    named = [(pair.first.path, pair.first.line, pair.second.path, pair.second.line) for pair in found]
    assert named == [("one.py", 1, "shapes/two.py", 4), ("one.py", 1, "three.py", 1)]
    assert found[0].score == 1.0
    assert 0.8 <= found[1].score < 1.0
    assert "numbers" in found[1].second.code
    for threshold in (0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="threshold"):
            index.duplicates(threshold)


def test_wrong_questions_are_errors(index: Index) -> None:
    with pytest.raises(TextError, match="the query is empty"):
        index.search("  \n")
    odd: Any = 5
    with pytest.raises(TextError, match="the query is empty"):
        index.search(odd)
    for count in (0, 1.5, "2", None):
        with pytest.raises(ArgumentError, match=f"count is {count!r}"):
            index.search("a", count=count)  # type: ignore[arg-type]
    for name in ("languages", "paths"):
        listed: Any
        for listed in ("src/", b"x", [5], odd):
            wrong = {name: listed}
            with pytest.raises(ArgumentError, match=rf"{name} is .*give a list of strings"):
                index.search("a", **wrong)
    with pytest.raises(ArgumentError, match="lone surrogate"):
        index.search("a", paths=["\ud800"])
    assert index.search("a", paths=[os.fsdecode(b"caf\xe9")]) == []
    with pytest.raises(ArgumentError, match=r"line is 1\.5"):
        index.like("files.py", 1.5)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"file is .*NUL"):
        index.like("\0", 1)
    with pytest.raises(ArgumentError, match="threshold is x"):
        index.duplicates("x")  # type: ignore[arg-type]


def test_odd_folders_are_refused(model: Any, tree: Path) -> None:
    for odd in ("a\0b", b"x", 5):
        with pytest.raises(ArgumentError, match="folder is"):
            Index(model, odd)  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match="index is"):
            Index(model, tree, index=odd)  # type: ignore[arg-type]


# What is embedded.


def test_one_file_of_a_thousand_changes_and_one_is_embedded(model: Any, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(1000):
        (folder / f"file{i}.py").write_text(
            f"def first_{i}():\n    return {i}\n\n\ndef second_{i}():\n    return -{i}\n"
        )
    with Index(model, folder, index=tmp_path / "index") as index:
        first = index.update()
        assert (first.files, first.changed, first.embedded) == (1000, 1000, 2000)
        assert len(model.texts) == 2000
        (folder / "file500.py").write_text(
            "def first_500():\n    return 'new'\n\n\ndef second_500():\n    return -500\n"
        )
        (folder / "file7.py").touch()
        second = index.update()
        assert (second.files, second.changed, second.embedded, second.removed) == (1000, 1, 1, 0)
        assert model.texts[2000:] == ["def first_500():\n    return 'new'"]
        assert index.search("first 500 new", count=1)[0].path == "file500.py"
        third = index.update()
        assert (third.changed, third.embedded) == (0, 0)


def test_what_is_gone_is_found_no_more(index: Index, tree: Path) -> None:
    (tree / "files.py").unlink()
    (tree / ".gitignore").write_text("*.go\n")
    (tree / "notes.md").write_bytes(b"\0")
    done = index.update()
    assert (done.files, done.removed, done.changed) == (1, 3, 0)
    assert done.skipped == {"binary": 1}
    assert {hit.path for hit in index.search("read jsonl push fox", count=50)} == {"shapes/circle.py"}
    assert len(content(index.place)["texts"]) == done.pieces + 1  # what was removed, up to a third of all


def test_a_moved_file_is_not_embedded_again(model: Any, index: Index, tree: Path) -> None:
    embedded = len(model.texts)
    (tree / "files.py").rename(tree / "moved.py")
    done = index.update()
    assert (done.changed, done.removed, done.embedded) == (1, 1, 0)
    assert len(model.texts) == embedded
    assert index.search("read jsonl path", count=1)[0].path == "moved.py"


def test_an_unreadable_file_is_reported_and_stays_as_it_was(
    index: Index, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = looking.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == "files.py":  # the superuser may read all: permissions alone would not do
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return read(path)

    monkeypatch.setattr(looking, "read_bytes", read_bytes)
    (tree / "new.py").write_text("def new():\n    return 'new'\n")
    done = index.update()
    assert done.unreadable == {"files.py": "Permission denied"}
    assert (done.changed, done.removed) == (1, 0)
    assert index.search("read jsonl path", count=1)[0].path == "files.py"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8_is_reported(index: Index, tree: Path) -> None:
    Path(os.fsdecode(os.fsencode(tree) + b"/caf\xe9.py")).write_bytes(b"x = 1\n")
    (tree / "two\nlines.py").write_text("x = 1\n")
    done = index.update()
    assert len(done.unreadable) == 2
    assert all("rename it" in why for why in done.unreadable.values())


def test_a_broken_encoding_is_read_and_told(index: Index, tree: Path) -> None:
    (tree / "latin.py").write_bytes("def naïve_mean(x):\n    return sum(x) / len(x)\n".encode("latin-1"))
    done = index.update()
    assert done.not_utf8 == ["latin.py"]
    assert index.search("mean sum len x", count=1)[0].path == "latin.py"


def test_a_folder_with_nothing_in_it_is_an_error_and_leaves_the_index(model: Any, index: Index, tree: Path) -> None:
    before = content(index.place)
    for path in list(tree.rglob("*")):
        if path.is_file():
            path.unlink()
    (tree / "blob").write_bytes(b"\0\1")
    with pytest.raises(TextError, match=r"contains nothing to index \(1 binary\)"):
        index.update()
    assert content(index.place) == before


def test_skipped_files_and_links_are_named(index: Index, tree: Path) -> None:
    (tree / "blob.bin").write_bytes(b"\0")
    (tree / "link.py").symlink_to(tree / "files.py")
    done = index.update()
    assert done.skipped == {"binary": 1}
    assert done.skipped_paths == {"binary": ["blob.bin"]}
    assert done.linked == ["link.py"]
