"""Search by words and names beside the vectors, and the table that it needs."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from c2llm_lite.errors import ArgumentError, OutputError
from c2llm_lite.search import Index, lexical, ranking
from c2llm_lite.search.database import DATABASE
from c2llm_lite.search.identifiers import identifiers, is_identifier, names, split, trigrams

from .test_damage import execute, to_format_1, to_format_2


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def index(model: Any, tree: Path, place: Path) -> Any:
    with Index(model, tree, index=place) as opened:
        opened.update()
        yield opened


def matched(place: Path, word: str) -> int:
    connection = sqlite3.connect(place / DATABASE)
    try:
        found = connection.execute("SELECT count(*) FROM lexical WHERE lexical MATCH ?", (word,)).fetchone()
        return int(found[0])
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("read_jsonl(path)", "read_jsonl read jsonl path"),
        ("readJSONLines2", "readjsonlines2 read json lines 2"),
        ("HTTPServer", "httpserver http server"),
        ("_private __init__", "_private private __init__ init"),
        ("größe_Übung", "größe_übung größe übung"),
        ("x" * 101 + " y", "y"),
        ("+-*/", ""),
    ],
)
def test_identifiers_are_split_whole_and_in_parts(text: str, words: str) -> None:
    assert split(text) == words


def test_identifiers_and_what_names_them() -> None:
    assert [is_identifier(text) for text in ("push", "Stack.push", "Stack::push", "read a file", "3d", "a.")] == [
        *(True, True, True, False, False, False)
    ]
    assert names("Stack.push", "push")
    assert names("Stack::push", "Stack.push")
    assert not names("Stack.unpush", "push")


def test_lexical_finds_what_shares_a_word_and_nothing_else(index: Index) -> None:
    assert [hit.symbol for hit in index.search("jsonl", mode="lexical")] == ["read_jsonl"]
    assert index.search("xylophone", mode="lexical") == []
    assert index.search("+", mode="lexical") == []
    assert index.search('" OR * NEAR( fox', mode="lexical")[0].path == "notes.md"
    assert {hit.path for hit in index.search("path shapes", mode="lexical", paths=["shapes/"])} == {"shapes/circle.py"}


def test_definitions_of_the_identifier_come_first_and_exact_case_before_other(index: Index, tree: Path) -> None:
    calls = "".join(f"    write_text(write_text(path_{i}))\n" for i in range(20))
    (tree / "calls.py").write_text(f"def write_text_often():\n{calls}")
    (tree / "other.py").write_text("def Write_Text(write_text):\n    return write_text\n")
    index.update()
    for mode in ("hybrid", "lexical"):
        hits = index.search("write_text", mode=mode)  # type: ignore[arg-type]
        assert [hit.symbol for hit in hits[:3]] == ["write_text", "Write_Text", "write_text_often"]
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize("query", ["write_texts", "writeTxt", "the write_texte function"])
def test_half_remembered_names_bring_the_definition_first(index: Index, tree: Path, query: str) -> None:
    calls = "".join(f"    texts.write(the_function, write, {i})\n" for i in range(20))
    (tree / "calls.py").write_text(f"def often(texts, write):\n{calls}")
    index.update()
    assert index.search(query, count=1)[0].symbol == "write_text"
    assert index.search(query, count=1, mode="lexical")[0].symbol == "write_text"


def test_names_and_similar_names() -> None:
    assert identifiers("Stack.push_item") == ["push_item"]
    assert identifiers("find read_jsonl or readText in files") == ["read_jsonl", "readText"]
    assert identifiers("a plain question, _private") == []
    assert trigrams("Read_Json") == trigrams("readjson")


def test_semantic_is_by_cosines_alone(index: Index, model: Any) -> None:
    hit = index.search("jsonl", mode="semantic", count=1)[0]
    cosine = float(model.embed("jsonl", prompt_name="query") @ model.embed(hit.code))
    assert hit.score == pytest.approx(cosine, abs=1e-5)


def test_unknown_mode(index: Index) -> None:
    with pytest.raises(ArgumentError, match="mode is 'words'; pass one of hybrid, semantic, lexical"):
        index.search("a", mode="words")  # type: ignore[arg-type]


def test_words_follow_the_files(index: Index, tree: Path, place: Path) -> None:
    (tree / "files.py").write_text("def parse_toml(path):\n    return path\n")
    index.update()
    assert index.search("jsonl", mode="lexical") == []
    assert [hit.symbol for hit in index.search("toml", mode="lexical")] == ["parse_toml"]
    (tree / "files.py").unlink()
    index.update()
    assert matched(place, "toml") == 0


# Indexes without words, or with others than were written.


@pytest.mark.parametrize("earlier", ["format 1", "format 2"])
def test_an_earlier_index_gets_its_words_and_keeps_its_vectors(
    new_model: Any, index: Index, tree: Path, place: Path, earlier: str, caplog: Any
) -> None:
    right = index.search("jsonl")
    index.close()
    execute(place, "DROP TABLE lexical", "DELETE FROM meta WHERE name = 'lexical'")
    (to_format_1 if earlier == "format 1" else to_format_2)(place)
    model = new_model()
    with Index(model, tree, index=place) as old:
        with caplog.at_level(logging.WARNING):
            assert old.search("jsonl") == old.search("jsonl", mode="semantic")
        assert "has no words yet; update it; this search is by vectors alone" in caplog.text
        with pytest.raises(OutputError, match="has no words yet; update it, or search in the mode semantic"):
            old.search("jsonl", mode="lexical")
        old.update()
        assert model.texts == []
        assert old.search("jsonl") == right


def test_words_that_another_version_did_not_keep_up_are_not_searched(index: Index, tree: Path, place: Path) -> None:
    """A version without a lexical side wrote to the index."""
    right = index.search("jsonl", mode="lexical")
    execute(place, "UPDATE pieces SET crc32 = crc32 + 1 WHERE rowid = 1")
    assert not index._store.lexical.is_current()
    execute(place, "UPDATE pieces SET crc32 = crc32 - 1 WHERE rowid = 1")
    assert index.search("jsonl", mode="lexical") == right


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE lexical_data SET block = zeroblob(length(block)) WHERE id > 10",
        "DELETE FROM lexical_docsize WHERE id = 1",
        "DROP TABLE lexical",
    ],
)
def test_damaged_words_are_noticed_and_an_update_builds_them_again(
    model: Any, index: Index, tree: Path, place: Path, damage: str
) -> None:
    right = index.search("jsonl")
    index.close()
    execute(place, damage)
    embedded = len(model.texts)
    with Index(model, tree, index=place) as damaged:
        with pytest.raises(OutputError, match="lexical index is not as it was written"):
            damaged.search("jsonl")
        damaged.update()
        assert damaged.search("jsonl") == right
    assert len(model.texts) == embedded


def test_without_fts5_vectors_are_searched(
    model: Any, tree: Path, place: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(lexical, "_has_fts5", lambda connection: False)
    with Index(model, tree, index=place) as index:
        index.update()
        assert index.search("read jsonl path", count=1)[0].symbol == "read_jsonl"
        assert "SQLite has no FTS5" in caplog.text
        with pytest.raises(OutputError, match="SQLite has no FTS5"):
            index.search("jsonl", mode="lexical")
    monkeypatch.undo()
    with Index(model, tree, index=place) as index:
        index.update()
        assert index.search("jsonl", mode="lexical")[0].symbol == "read_jsonl"


def test_fusion_ranks_by_both_sides() -> None:
    cosines = np.array([0.9, 0.8, 0.1, 0.1], np.float32)
    words = np.array([0.0, 5.0, 5.0, 0.0], np.float32)
    every = np.ones(4, bool)
    for strength in (0.0, 0.5, 1.0):
        scores = ranking.fuse(cosines, words, every, strength)
        assert scores.min() >= 0
        assert scores.max() <= 1
    assert int(ranking.fuse(cosines, words, every, 0.5).argmax()) == 1
    # The more of the query the best text has, the more its words count.
    weak, strong = (ranking.fuse(cosines, words, every, strength) for strength in (0.0, 1.0))
    assert weak[0] > weak[2]
    assert strong[0] < strong[2]
    # A text without a vector is ranked by its words.
    assert ranking.fuse(cosines, words, np.array([True, True, False, True]), 0.0)[2] == 1.0
    assert ranking.fuse(cosines[:0], words[:0], every[:0], 0.0).shape == (0,)


def test_strength_is_the_share_of_the_query_that_the_best_text_has(index: Index) -> None:
    lexical = index._store.lexical

    def strength(query: str) -> float:
        return lexical.strength(query, max(lexical.scores(query, 10).values(), default=0.0))

    assert strength("jsonl") == pytest.approx(1.0)
    assert strength("jsonl fox") < 0.8
    assert strength("xylophone") == 0.0
    assert strength("+") == 0.0
