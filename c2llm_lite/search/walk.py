"""The files of a folder that are worth reading: what .gitignore leaves out is not looked at.

Hidden files and folders are passed over, as ripgrep does (virtual environments, caches and .git lie there), and so are
links (a link's target is read where it stands), node_modules, and folders that say they are caches (CACHEDIR.TAG).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MissingDependencyError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

PASSED = frozenset({"node_modules", "__pycache__"})
CACHE_TAG = "CACHEDIR.TAG"  # https://bford.info/cachedir/

Failed = Callable[[str, OSError], None]


@dataclass(frozen=True)
class _Ignore:
    """A .gitignore and the folder it stands in: "" or "a/b/", from the outermost."""

    folder: str
    spec: GitIgnoreSpec


def files(folder: Path, failed: Failed) -> Iterator[str]:
    """Paths below `folder`, with /, in a fixed order. failed: told of each folder that cannot be listed, and goes on.

    A .gitignore counts from the repository's top down, where `folder` lies in a repository and is not ignored itself:
    a folder that was named is wanted. Raises OSError where `folder` itself cannot be listed, MissingDependencyError.
    """
    folder = folder.resolve()
    top = next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder)
    at = "" if top == folder else folder.relative_to(top).as_posix() + "/"
    ignores: list[_Ignore] = []
    above = ""
    for name in at.split("/")[:-1]:
        ignores += _ignore(top, above)
        above += f"{name}/"
        if _ignored(above, ignores):
            ignores = []
            break
    return _below(top, at, ignores, failed)


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path fits one of these patterns, written as .gitignore has them: `*.py`, `src/`, `src/**/test_*`."""
    spec = _spec(list(patterns))
    return lambda path: bool(spec.match_file(path))


def _below(top: Path, at: str, above: list[_Ignore], failed: Failed) -> Iterator[str]:
    """Depth first, names in order. Paths are kept as strings: a large tree has many."""
    waiting = [(at, above)]
    while waiting:
        folder, ignores = waiting.pop()
        try:
            with os.scandir(top / folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
            if folder != at and any(entry.name == CACHE_TAG for entry in entries):
                continue
            ignores = ignores + _ignore(top, folder)
        except OSError as error:
            if folder == at:
                raise
            failed(folder[len(at) : -1], error)
            continue
        folders = []
        for entry in entries:
            if entry.name.startswith(".") or entry.name in PASSED:
                continue
            path = folder + entry.name
            if entry.is_dir(follow_symlinks=False):
                if not _ignored(f"{path}/", ignores):
                    folders.append((f"{path}/", ignores))
            elif entry.is_file(follow_symlinks=False) and not _ignored(path, ignores):
                yield path[len(at) :]
        waiting += reversed(folders)


def _ignored(path: str, ignores: list[_Ignore]) -> bool:
    """The innermost .gitignore that says anything of a path decides."""
    for ignore in reversed(ignores):
        verdict = ignore.spec.check_file(path[len(ignore.folder) :]).include
        if verdict is not None:
            return verdict
    return False


def _ignore(top: Path, folder: str) -> list[_Ignore]:
    try:
        lines = (top / folder / ".gitignore").read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, IsADirectoryError):
        return []
    return [_Ignore(folder, _spec(lines))]


def _spec(lines: list[str]) -> GitIgnoreSpec:
    try:
        from pathspec import GitIgnoreSpec
    except ImportError as error:
        raise MissingDependencyError("pathspec", "search", "honouring .gitignore") from error
    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError:  # git passes over a pattern it cannot read, and keeps the others
        readable = [line for line in lines if _readable(line, GitIgnoreSpec)]
        return GitIgnoreSpec.from_lines(readable)


def _readable(line: str, spec: type[GitIgnoreSpec]) -> bool:
    try:
        spec.from_lines([line])
    except ValueError:
        return False
    return True
