"""A user without a home folder, as in a container: what only saves time is left out, and what needs a place says so."""

from __future__ import annotations

from pathlib import Path

import pytest

import c2llm_lite
from c2llm_lite.cache import cache_folder
from c2llm_lite.errors import OutputError
from c2llm_lite.search.cache import default_place


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)


def test_a_bundle_is_loaded_all_the_same(homeless, f32_bundle: Path) -> None:
    with c2llm_lite.load(f32_bundle, threads=1) as model:
        assert model.embed("x").shape == (64,)


def test_an_index_needs_to_be_given_a_place(homeless, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"no home folder; set HOME .*, or name a folder for it with --index"):
        default_place(tmp_path, "0" * 64)


def test_the_variable_is_enough(homeless, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "c2llm-lite"
