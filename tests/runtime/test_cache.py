"""A user without a home folder, as in a container: what only saves time is left out, and what needs a place says so."""

from __future__ import annotations

import shutil
import subprocess
import sys
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


@pytest.mark.parametrize("home", ["", "HOME=/sys"])  # unset; not to be written
def test_a_real_user_without_an_account_embeds(home: str, f32_bundle: Path) -> None:
    unshare = ["unshare", "--user", "--map-user=12345", "--map-group=12345"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("no user can be made up here")
    code = (
        "import os, pwd, sys; sys.path[:0] = sys.argv[2:]; import c2llm_lite\n"
        "assert 12345 == os.getuid() not in [entry.pw_uid for entry in pwd.getpwall()]\n"
        "print(c2llm_lite.load(sys.argv[1], threads=1).embed('x').shape)"
    )
    command = [*unshare, "env", "-i", *filter(None, [home]), sys.executable, "-c", code, f32_bundle, *sys.path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("(64,)\n", 0), done.stderr
