"""Which files of a folder are read, and how."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from c2llm_lite.search.read import MAX_BYTES, SkippedError, decode, digest_of, read_bytes
from c2llm_lite.search.walk import files, matcher


def _fill(folder: Path, **contents: str) -> None:
    for name, content in contents.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def _found(folder: Path) -> list[str]:
    failed: dict[str, OSError] = {}
    found = list(files(folder, failed.__setitem__))
    assert failed == {}
    return found


def test_every_folders_gitignore_counts_and_the_inner_one_decides(tmp_path: Path) -> None:
    _fill(
        tmp_path,
        _dot_gitignore="*.log\nbuild/\n/top.py\n",
        a_dot_py="",
        top_dot_py="",
        a_dot_log="",
        build__out_dot_py="",
        src___dot_gitignore="!keep.log\nlocal.py\n",
        src__keep_dot_log="",
        src__drop_dot_log="",
        src__local_dot_py="",
        src__top_dot_py="",
        src__deep__local_dot_py="",
        src__deep__b_dot_py="",
    )
    assert _found(tmp_path) == ["a.py", "src/keep.log", "src/top.py", "src/deep/b.py"]


def test_hidden_files_links_and_caches_are_skipped(tmp_path: Path) -> None:
    _fill(tmp_path, a_dot_py="", _dot_git__config="", _dot_venv__b_dot_py="", node_modules__c_dot_js="")
    _fill(tmp_path, cache__CACHEDIR_dot_TAG="", cache__d_dot_py="", real__e_dot_py="")
    (tmp_path / "link.py").symlink_to(tmp_path / "a.py")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert _found(tmp_path) == ["a.py", "real/e.py"]


def _skipped(folder: Path, **patterns: list[str]) -> tuple[list[str], dict[str, str]]:
    skipped: dict[str, str] = {}
    found = list(files(folder, lambda path, error: pytest.fail(path), skipped.__setitem__, **patterns))
    return found, skipped


def test_what_is_not_code_is_passed_over_and_counted(tmp_path: Path) -> None:
    _fill(tmp_path, a_dot_py="", table_dot_csv="", app_dot_min_dot_js="", Cargo_dot_lock="", env__pyvenv_dot_cfg="")
    _fill(tmp_path, env__lib__a_dot_py="", sub__node_modules__b_dot_js="", message_pb2_dot_py="")
    (tmp_path / "package-lock.json").write_text("{}")
    found, skipped = _skipped(tmp_path)
    assert found == ["a.py"]
    assert skipped == {
        "table.csv": "data",
        "app.min.js": "minified",
        "Cargo.lock": "lock file",
        "package-lock.json": "lock file",
        "env/": "virtual environment",
        "sub/node_modules/": "node_modules",
        "message_pb2.py": "generated",
    }


def test_c2llmignore_decides_over_the_rules_and_over_gitignore(tmp_path: Path) -> None:
    _fill(
        tmp_path, _dot_gitignore="out/\n", _dot_c2llmignore="!table.csv\n!out/\n*.md\n", table_dot_csv="", b_dot_md=""
    )
    _fill(
        tmp_path,
        _dot_git__config="",
        out__a_dot_py="",
        other_dot_csv="",
        sub___dot_c2llmignore="!c.md\n",
        sub__c_dot_md="",
        sub__d_dot_md="",
    )
    assert _skipped(tmp_path) == (["table.csv", "out/a.py", "sub/c.md"], {"other.csv": "data"})
    assert _found(tmp_path / "sub") == ["c.md"]


def test_exclude_and_include(tmp_path: Path) -> None:
    _fill(tmp_path, _dot_c2llmignore="!keep.py\n", keep_dot_py="", a_dot_py="", a_dot_js="", tests__b_dot_py="")
    assert _skipped(tmp_path, exclude=["tests/", "keep.py"])[0] == ["a.js", "a.py"]
    assert _skipped(tmp_path, include=["*.py"], exclude=["/a.*"])[0] == ["keep.py", "tests/b.py"]
    assert _skipped(tmp_path / "tests", exclude=["/b.py"])[0] == []


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    for name, value in {"GIT_AUTHOR": "a", "GIT_COMMITTER": "a"}.items():
        monkeypatch.setenv(f"{name}_NAME", value)
        monkeypatch.setenv(f"{name}_EMAIL", value)
    (tmp_path / "home").mkdir()
    folder = tmp_path / "repository"
    subprocess.run(["git", "init", "-q", folder], check=True)
    _fill(folder, a_dot_py="", a_dot_log="", a_dot_tmp="", a_dot_bak="")
    return folder


def _git(folder: Path, *arguments: object) -> str:
    done = subprocess.run(["git", "-C", folder, *map(str, arguments)], check=True, capture_output=True, text=True)
    return done.stdout


def test_gits_other_excludes_count(repository: Path) -> None:
    (repository / ".git" / "info" / "exclude").write_text("*.log\n!a.bak\n")
    ignore = repository.parent / "home" / "git" / "ignore"
    ignore.parent.mkdir()
    ignore.write_text("*.tmp\n*.bak\n")
    listed = ["git", "ls-files", "--others", "--exclude-standard"]
    assert _found(repository) == _git(repository, *listed[1:]).split() == ["a.bak", "a.py"]
    (repository.parent / "home" / ".gitconfig").write_text('[core]\n\texcludesFile = "~/mine" # a comment\n')
    (repository.parent / "home" / "mine").write_text("*.py\n")
    assert _found(repository) == _git(repository, *listed[1:]).split() == ["a.bak", "a.tmp"]
    _git(repository, "config", "core.excludesFile", repository / "own")
    (repository / "own").write_text("own\n*.tmp\n")
    assert _found(repository) == _git(repository, *listed[1:]).split() == ["a.bak", "a.py"]


def test_a_linked_worktree_is_skipped_and_a_submodule_is_not(repository: Path) -> None:
    other = repository.parent / "other"
    subprocess.run(["git", "clone", "-q", repository, other], check=True, capture_output=True)
    for folder in (other, repository):
        _fill(folder, b_dot_py="")
        _git(folder, "add", "b.py")
        _git(folder, "commit", "-qm", "b")
    _git(repository, "-c", "protocol.file.allow=always", "submodule", "add", "-q", other, "module")
    _git(repository, "worktree", "add", "-q", repository / "tree", "-b", "branch")
    (repository / ".git" / "info" / "exclude").write_text("*.log\n*.tmp\n*.bak\n")
    assert _skipped(repository) == (["a.py", "b.py", "module/b.py"], {"tree/": "linked worktree"})
    _fill(repository / "tree", c_dot_log="")
    assert _found(repository / "tree") == ["b.py"]  # the repository's info/exclude counts there


def test_a_repositorys_gitignore_counts_in_its_folders(tmp_path: Path) -> None:
    _fill(tmp_path, _dot_git__config="", _dot_gitignore="*.log\nbuild/\n", src__a_dot_py="", src__a_dot_log="")
    _fill(tmp_path, build__b_dot_py="", build__b_dot_log="")
    assert _found(tmp_path / "src") == ["a.py"]
    # An ignored folder that was named is wanted.
    assert _found(tmp_path / "build") == ["b.log", "b.py"]


def test_a_gitignore_that_cannot_be_understood_is_read_as_far_as_it_can(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_bytes(b"\xff\xfe\n!\n///\n*.log\n[\n")
    _fill(tmp_path, a_dot_log="", a_dot_py="")
    assert _found(tmp_path) == ["a.py"]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs permissions as Unix has them")
def test_a_folder_that_cannot_be_listed_is_reported_and_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(tmp_path, a_dot_py="", locked__b_dot_py="", z_dot_py="")
    listed = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "locked":  # the superuser may read all: permissions alone would not do
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    failed: dict[str, OSError] = {}
    assert list(files(tmp_path, failed.__setitem__)) == ["a.py", "z.py"]
    assert list(failed) == ["locked"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(files(tmp_path / "nowhere", lambda path, error: None))


def test_matcher_reads_patterns_as_gitignore_does() -> None:
    fits = matcher(["src/", "*.md"])
    assert [path for path in ("src/a.py", "a.py", "doc/a.md", "lib/src/b.c") if fits(path)] == [
        "src/a.py",
        "doc/a.md",
        "lib/src/b.c",
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x7fELF\0\0", "binary"),
        ("a\0b".encode("utf-16"), "binary"),
        ("text".encode("utf-32"), "binary"),
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"// Code generated by protoc-gen-go. DO NOT EDIT.\npackage a\n", "generated"),
        (b"#!/bin/sh\n# " + b"\n# ".join([b"license"] * 10) + b"\n# @" + b"generated by tool\n", "generated"),
        (b"var a=1;" * 1000, "minified"),
    ],
)
def test_skipped(content: bytes, reason: str) -> None:
    with pytest.raises(SkippedError, match=reason):
        decode(content)


def test_code_that_names_the_marks_of_generators_is_read() -> None:
    assert decode(b'MARK = "@' + b'generated"\n').text
    assert decode(b"x = 1\n" * 30 + b"# DO NOT EDIT below\n").text


def test_a_long_line_among_others_is_read() -> None:
    assert decode(b"x = 1\n" * 1000 + b"y" * 3000).text


def test_a_broken_encoding_is_read_with_marks_in_place() -> None:
    source = decode("def café():\r\n    pass\r\n".encode("latin-1"))
    assert source.replaced
    assert source.text == "def caf\ufffd():\n    pass\n"
    marked = decode(b"\xef\xbb\xbfx = 1\n")
    assert (marked.text, marked.replaced) == ("x = 1\n", False)


def test_of_a_large_file_the_first_lines_are_read(tmp_path: Path) -> None:
    (tmp_path / "large.py").write_bytes(b"x = 1\n" * (MAX_BYTES // 6 + 100))
    content = read_bytes(tmp_path / "large.py")
    assert MAX_BYTES - 6 <= len(content) <= MAX_BYTES
    assert content.endswith(b"x = 1\n")
    (tmp_path / "one_line.py").write_bytes(b"x" * (MAX_BYTES + 1))
    assert len(read_bytes(tmp_path / "one_line.py")) == MAX_BYTES
    (tmp_path / "small.py").write_bytes(b"x")
    assert read_bytes(tmp_path / "small.py") == b"x"
    assert digest_of(b"x") != digest_of(b"y")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf16_with_its_mark_is_read(encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    assert decode(f"{mark}naïve = 1\r\n".encode(encoding)).text == "naïve = 1\n"


def test_a_long_line_of_data_is_skipped_and_the_file_is_not() -> None:
    image = "iVBORw0KGgo" * 500
    paragraph = "This paragraph is on one line, as many write Markdown. " * 40
    for before, line in (("# Title", paragraph), ("x = 1", "# " + paragraph)):
        assert decode(f"{before}\n{line}\n".encode()).text == f"{before}\n{line}\n"
    notebook = f'{{\n "image/png": "{image}",\n "source": "print(1)"\n}}\n'
    assert decode(notebook.encode()).text == '{\n\n "source": "print(1)"\n}\n'
    assert decode(f"def f():\n    return 1\nDATA = '{image}'\n".encode()).text == "def f():\n    return 1\n\n"


def test_a_comment_to_people_does_not_drop_a_file() -> None:
    assert decode(b"# DO NOT EDIT below without asking\nx = 1\n").text
