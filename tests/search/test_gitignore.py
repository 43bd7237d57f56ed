"""A .gitignore excludes what git excludes, in bounded time, whatever it contains."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from c2llm_lite.search.walk import MAX_GITIGNORE, files, matcher

NAMES = ("a", "b", "ab", "a.py", "k.py", "b.c", "x y", "é.py", "[a]", "Makefile")
PIECES = (
    "*",
    "**",
    "/",
    "a",
    "b",
    "!",
    "?",
    "[ab]",
    "[!a]",
    ".py",
    "\\",
    " ",
    "[[:alpha:]]",
    "é",
    "*.c",
    "[a-",
    "**/",
    "/**",
)


def git(folder: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True).stdout


def listed_by_git(folder: Path) -> list[str]:
    """Files that are not ignored, hidden ones aside."""
    paths = git(folder, "ls-files", "--others", "--exclude-standard", "-z").decode().split("\0")
    return sorted(path for path in paths if path and not any(part.startswith(".") for part in path.split("/")))


def listed_here(folder: Path) -> list[str]:
    errors: dict[str, OSError] = {}
    return sorted(files(folder, errors.__setitem__))


@pytest.fixture
def repository(tmp_path, monkeypatch):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    git(tmp_path, "init", "-q")
    for folder in ("a/b", "b", "ab/k.py", "é", "bar/deep"):
        (tmp_path / folder).mkdir(parents=True)
    for folder in ("", "a", "a/b", "b", "ab", "ab/k.py", "é", "bar", "bar/deep"):
        for name in NAMES:
            if not (tmp_path / folder / name).exists():
                (tmp_path / folder / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    "content",
    [
        b"*\n!*/\n!*.py\n",
        b"bar/**\n!bar/k.py\n",
        b"/a/**/b\n",
        b"\xef\xbb\xbfa.py\n",
        "a\u2028b\nk.py\n".encode(),
        b"a\x0cb\nk.py\x0c\n",
        b"a.py\rk.py\n",
        b"[[:digit:]]\n[[:alpha:]].py\n",
        b"[z-a]\nk.py\n",
        b"a.py\r\n",
        b"a.py   \n\\!a\nx\\ y\n",
        b"a/\n!a/k.py\n",
        b"**/k.py\n!**/b/k.py\n",
        b"\\",
        b"#a.py\n\\#\n",
        b"",
    ],
    ids=repr,
)
def test_a_file_is_skipped_as_git_leaves_it_out(repository, content):
    (repository / ".gitignore").write_bytes(content)
    assert listed_here(repository) == listed_by_git(repository)


def test_random_patterns_mean_what_they_mean_to_git(repository):
    draw = random.Random(7)
    for number in range(150):
        for folder in ("", "a/", "ab/"):
            lines = ["".join(draw.choices(PIECES, k=draw.randint(1, 5))) for _ in range(draw.randint(0, 4))]
            (repository / folder / ".gitignore").write_text("\n".join(lines), encoding="utf-8")
        assert listed_here(repository) == listed_by_git(repository), number


@pytest.mark.parametrize("pattern", ["*a" * 30 + "*b", "**/" * 40 + "b", "[" * 5000, "?*" * 2000])
def test_no_pattern_takes_long(pattern):
    fits = matcher([pattern])
    begun = time.monotonic()
    fits("a" * 200 + "/" + "a" * 200)
    assert time.monotonic() - begun < 5


def test_very_many_lines_take_seconds_at_most(tmp_path):
    begun = time.process_time()
    (tmp_path / ".gitignore").write_bytes(
        b"".join(b"file%06d.log\n" % i for i in range(200_000)) + b"[\x01-\x7e]\n" * 100_000
    )
    for name in ("file077777.log", "file200000.log", "a"):
        (tmp_path / name).touch()
    assert list(files(tmp_path, lambda path, error: pytest.fail(path))) == ["file200000.log"]
    assert time.process_time() - begun < 10  # measured: 2 s; 20 s if bits are set one by one


def test_gitignores_in_memory_together_are_bounded(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.py").touch()
    for folder, pattern in ((tmp_path, b"*.log"), (tmp_path / "a", b"*.py")):
        (folder / ".gitignore").write_bytes(b"#" * (MAX_GITIGNORE // 2) + b"\n" + pattern)
    errors: dict[str, OSError] = {}
    assert list(files(tmp_path / "a", errors.__setitem__)) == []
    assert list(files(tmp_path, errors.__setitem__)) == ["a/b.py"]
    assert "over 4 MiB with those above it" in str(errors["a/.gitignore"])


def odd(folder: Path, kind: str) -> None:
    path = folder / ".gitignore"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"#" * (MAX_GITIGNORE + 1))


@pytest.mark.skipif(os.name == "nt", reason="needs pipes, devices and links")
@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "folder", "large"])
def test_a_gitignore_that_is_no_list_of_patterns_is_named_and_counts_as_none(tmp_path, kind):
    (tmp_path / "a.py").touch()
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "b.py").touch()
    odd(tmp_path / "src", kind)
    errors: dict[str, OSError] = {}
    assert list(files(tmp_path, errors.__setitem__)) == ["a.py", "src/b.py"]
    assert list(errors) == ["src/.gitignore"]


def test_a_path_fits_a_pattern_or_a_folder_of_it():
    fits = matcher(["src/", "*.md", "!src/gen/"])
    assert fits("src/a.py")
    assert fits("docs/x.md")
    assert not fits("lib/a.py")
    assert not fits("src/gen/a.py")
    assert not matcher(["[z-a]"])("a")
