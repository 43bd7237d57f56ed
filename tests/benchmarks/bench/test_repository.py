"""A source tree as a task: its documentation and its commits, without what calibration takes."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from c2llm_lite.benchmarks.bench import data, repository
from c2llm_lite.convert.calibrate.source_tree import source_files
from c2llm_lite.errors import ArgumentError

PYTHON = 'def area_{n}(x):\n    """Return the area of shape {n}."""\n    y = x * {n}\n    return y\n\n\n'
PLAIN = "def plain_{n}(x):\n    y = x + {n}\n    return y\n\n\n"
git_is_here = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def write(folder: Path, files: int = 40) -> None:
    for number in range(files):
        functions = (PYTHON.format(n=10 * number + i) for i in range(2))
        (folder / f"file_{number}.py").write_text("".join(functions) + PLAIN.format(n=number))


def git(folder: Path, *arguments: str, second: int = 0) -> None:
    author = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    when = {"GIT_AUTHOR_DATE": f"2026-01-01T00:00:{second:02d}Z"}
    command = ["git", "-C", str(folder), *author, *arguments]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | when)


def scored_names(folder: Path) -> list[str]:
    return sorted(file.path for file in source_files(folder, to_calibrate=False))


def test_documentation_asks_for_its_definition(tmp_path: Path) -> None:
    write(tmp_path)
    queries, documents, relevant = repository.read(tmp_path)
    name = scored_names(tmp_path)[0]
    number = int(name.removeprefix("file_").removesuffix(".py"))
    key = f"{name}:1 area_{10 * number}"
    assert queries[key] == f"Return the area of shape {10 * number}."
    assert documents[key] == f"def area_{10 * number}(x):\n    y = x * {10 * number}\n    return y"
    assert relevant[key] == {key: 1}
    assert len(queries) == 2 * len(scored_names(tmp_path))
    assert len(documents) == 3 * len(scored_names(tmp_path))
    task = data.task(f"repo:{tmp_path}")
    assert task.name == f"repo:{tmp_path.name}"
    assert task.query_prompt == "query"
    assert not [name for name in documents if name.partition(":")[0] not in scored_names(tmp_path)]


def test_the_same_words_about_different_code_ask_for_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    for number in range(10):
        code = f'def same_{number}(x):\n    """Do the usual thing."""\n    y = {number}\n    return y\n'
        (tmp_path / f"same_{number}.py").write_text(code)
    queries, documents, _ = repository.read(tmp_path)
    assert "Do the usual thing." not in queries.values()
    assert [name for name in documents if "same_" in name]


def test_too_few_pairs_are_refused(tmp_path: Path) -> None:
    write(tmp_path, files=10)
    with pytest.raises(ArgumentError, match="queries, from documented definitions and commits; at least 50 are needed"):
        data.task(f"repo:{tmp_path}")
    with pytest.raises(ArgumentError, match=r"is not a data source; .* repo:FOLDER"):
        data.task(f"repo:{tmp_path / 'nowhere'}")


@git_is_here
def test_a_commit_asks_for_what_it_changed_last(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "Begin with all the files")
    first, second, third, *_ = scored_names(tmp_path)
    changes = {"Round the sum up (#12)": [first, second], "Fix it": [third]}
    for number, (subject, names) in enumerate(changes.items(), 1):
        for name in names:
            path = tmp_path / name
            path.write_text(path.read_text().replace("y = x + ", "y = 1 + x + "))
        git(tmp_path, "commit", "-qam", subject, second=number)
    queries, _, relevant = repository.read(tmp_path)
    commits = {key: asked for key, asked in queries.items() if key.startswith("commit: ")}
    assert list(commits.values()) == ["Round the sum up"]  # not what changed everything, nor two words
    (answers,) = (relevant[key] for key in commits)
    numbers = (name.removeprefix("file_").removesuffix(".py") for name in (first, second))
    assert sorted(answers) == sorted(f"file_{number}.py:13 plain_{number}" for number in numbers)
    # What was edited since has other lines than the history tells of.
    for name in (first, second):
        (tmp_path / name).write_text("\n" + (tmp_path / name).read_text())
    assert not [key for key in repository.read(tmp_path)[0] if key.startswith("commit: ")]


@pytest.mark.parametrize("package", ["networkx", "tokenizers"])
def test_real_packages(package: str) -> None:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"{package} is not installed")
    folder = Path(found.origin).parent
    if package == "tokenizers":
        with pytest.raises(ArgumentError, match="at least 50 are needed"):
            repository.read(folder)
        return
    queries, documents, relevant = repository.read(folder / "algorithms")
    assert len(queries) > 200
    assert all(set(answers) <= set(documents) for answers in relevant.values())
