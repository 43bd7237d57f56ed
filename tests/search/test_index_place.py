"""Where an index is kept, what is refused there, and that no stop or other process harms it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from index_content import content

from c2llm_lite.errors import BundleError, OutputError
from c2llm_lite.search import BusyError, Index
from c2llm_lite.search import update as updating
from c2llm_lite.search.cache import default_place
from c2llm_lite.search.database import DATABASE
from c2llm_lite.search.store import Store


def test_another_bundles_index_is_refused(new_model: Any, index: Index, tree: Path) -> None:
    before = content(index.place)
    with pytest.raises(BundleError, match=r"made with another bundle .*--index"):
        Index(new_model("c" * 64), tree, index=index.place)
    short = new_model()
    short.max_tokens = 100
    with pytest.raises(BundleError, match="made with another max_tokens"):
        Index(short, tree, index=index.place)
    assert content(index.place) == before


def test_each_folder_and_bundle_has_its_own_place(new_model: Any, tree: Path, tmp_path: Path) -> None:
    places = {default_place(folder, sha) for folder in (tree, tree / "shapes") for sha in ("a" * 64, "b" * 64)}
    assert len(places) == 4
    assert all(place.is_relative_to(tmp_path / "cache") for place in places)
    with Index(new_model(), tree) as index:
        index.update()
        assert index.place == default_place(tree, "b" * 64)
    assert not any(path.name == DATABASE for path in tree.rglob("*"))


def test_what_is_no_folder_is_refused(model: Any, tree: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        Index(model, tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        Index(model, tree / "files.py")
    with pytest.raises(OutputError, match="contains other files"):
        Index(model, tree, index=tree / "shapes")
    with pytest.raises(OutputError, match="cannot create the index"):
        Index(model, tree, index=tree / "files.py" / "index")


def test_a_damaged_index_is_reported(model: Any, index: Index, tree: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / DATABASE).write_bytes(b"this is no database, and long enough to be read as one" * 50)
    with pytest.raises(OutputError, match="delete the folder and index again"):
        Index(model, tree, index=damaged)
    connection = sqlite3.connect(index.place / DATABASE)
    with connection:
        connection.execute("UPDATE texts SET vector = x'00'")
    connection.close()
    with pytest.raises(OutputError, match="damaged"):
        index.search("a")


def test_an_index_of_another_format_is_refused(model: Any, index: Index, tree: Path) -> None:
    connection = sqlite3.connect(index.place / DATABASE)
    with connection:
        connection.execute("UPDATE meta SET value = '99' WHERE name = 'format'")
    connection.close()
    with pytest.raises(OutputError, match="format 99"):
        Index(model, tree, index=index.place)


def test_a_second_writer_is_refused_and_readers_are_not(new_model: Any, index: Index, tree: Path) -> None:
    with index._store.writing(), Index(new_model(), tree, index=index.place) as other:
        with pytest.raises(BusyError, match="another process is writing"):
            other.update()
        assert other.search("read jsonl path", count=1)[0].symbol == "read_jsonl"
    index.update()


def test_what_another_writes_is_seen(new_model: Any, index: Index, tree: Path) -> None:
    with Index(new_model(), tree, index=index.place) as other:
        assert other.search("brand new words", count=1)[0].path != "new.py"
        (tree / "new.py").write_text("def brand_new_words():\n    pass\n")
        index.update()
        assert other.search("brand new words", count=1)[0].path == "new.py"


def test_stopping_keeps_what_was_done(model: Any, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updating, "MOST_CHARACTERS", 1)
    embed, calls = model.embed, []

    def interrupted(texts: Any, **options: Any) -> Any:
        calls.append(texts)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed(texts, **options)

    with Index(model, tree, index=tmp_path / "index") as index:
        monkeypatch.setattr(model, "embed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index.update()
        assert index.coverage() == (2, 6)
        done = index.update()
        assert (done.files, done.changed, done.embedded, done.without_vector) == (4, 0, 4, 0)


def test_an_update_stopped_at_its_end_can_be_searched(
    index: Index, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts of files that have changed are still held then, and are in no file."""
    (tree / "files.py").write_text("def other_name():\n    return 1\n")
    with monkeypatch.context() as patched:
        patched.setattr(Store, "finish", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            index.update()
    hits = index.search("read jsonl path other", count=20)
    assert "read_jsonl" not in [hit.symbol for hit in hits]
    assert "other_name" in [hit.symbol for hit in hits]


def test_a_full_disk_is_reported_and_loses_nothing(model: Any, index: Index, tree: Path) -> None:
    before = content(index.place)
    pages = index._store.connection.execute("PRAGMA page_count").fetchone()[0]
    index._store.connection.execute(f"PRAGMA max_page_count = {pages}")
    (tree / "new.md").write_text("\n".join(f"many new words {i}" for i in range(2000)))
    with pytest.raises(OutputError, match="full"):
        index.update()
    assert content(index.place) == before
    index._store.connection.execute("PRAGMA max_page_count = 1000000")
    assert index.update().changed == 1


def test_a_read_only_index_can_be_searched(
    index: Index, tree: Path, new_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.update()
    found = index.search("read jsonl path")
    index.close()
    before = sorted(index.place.iterdir())
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # as root, permissions alone would not do
    with Index(new_model(), tree, index=index.place) as opened:
        assert opened.search("read jsonl path") == found
        assert opened.update().changed == 0  # it is up to date: nothing to say
        (tree / "new.md").write_text("words that no index has")
        with pytest.raises(BusyError, match="read-only and was not updated"):
            opened.update()
    assert sorted(index.place.iterdir()) == before
