"""The files of a folder that are worth reading: what .gitignore leaves out is not looked at.

Hidden files and folders are passed over, as ripgrep does (virtual environments, caches and .git lie there), and so are
links (a link's target is read where it stands), node_modules, and folders that say they are caches (CACHEDIR.TAG).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .gitignore import Patterns
from .read import SkippedError, read_regular

PASSED = frozenset({"node_modules", "__pycache__"})
CACHE_TAG = "CACHEDIR.TAG"  # https://bford.info/cachedir/
GITIGNORE = ".gitignore"
MAX_GITIGNORE = 1 << 20  # bytes; a larger one is no list of patterns that somebody wrote

Failed = Callable[[str, OSError], None]


class _Ignore(NamedTuple):
    """A .gitignore's patterns, and what they have matched of the way from its folder to the one at hand."""

    patterns: Patterns
    state: int


def files(folder: Path, on_error: Failed) -> Iterator[str]:
    """Paths below `folder`, with /, in a fixed order.

    A .gitignore counts from the repository's top down, where `folder` lies in a repository and is not ignored itself:
    a folder that was named is wanted. on_error: called for each unreadable folder and .gitignore; the walk continues.
    Raises OSError where `folder` itself cannot be listed.
    """
    folder = folder.resolve()
    top = next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder)
    names = folder.relative_to(top).parts
    at = "".join(f"{name}/" for name in names)
    ignores: list[_Ignore] = []
    above = ""
    for name in names:
        ignores = [*ignores, *_ignore(top, above, on_error)]
        above += f"{name}/"
        ignored, ignores = _entered(ignores, name)
        if ignored:
            ignores = []
            break
    return _below(top, at, ignores, on_error)


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path fits one of these patterns, written as .gitignore has them: `*.py`, `src/`, `src/**/test_*`."""
    wanted = [_Ignore(given := Patterns("\n".join(patterns).encode()), given.start)]

    def fits(path: str) -> bool:
        *folders, name = path.split("/")
        ignores = wanted
        for folder in folders:
            found, ignores = _entered(ignores, folder)
            if found:
                return True
        return _ignored(ignores, name)

    return fits


def _below(top: Path, at: str, above: list[_Ignore], on_error: Failed) -> Iterator[str]:
    """Depth first, names in order. Paths are kept as strings: a large tree has many."""
    waiting = [(at, above)]
    while waiting:
        folder, ignores = waiting.pop()
        try:
            with os.scandir(top / folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            if folder == at:
                raise
            on_error(folder[len(at) : -1], error)
            continue
        if folder != at and any(entry.name == CACHE_TAG for entry in entries):
            continue
        ignores = [*ignores, *_ignore(top, folder, on_error)]
        folders = []
        for entry in entries:
            if entry.name.startswith(".") or entry.name in PASSED:
                continue
            path = folder + entry.name
            if entry.is_dir(follow_symlinks=False):
                ignored, inside = _entered(ignores, entry.name)
                if not ignored:
                    folders.append((f"{path}/", inside))
            elif entry.is_file(follow_symlinks=False) and not _ignored(ignores, entry.name):
                yield path[len(at) :]
        waiting += reversed(folders)


def _ignored(ignores: list[_Ignore], name: str) -> bool:
    """Whether a file is left out: the innermost .gitignore that says anything of it decides."""
    for patterns, state in reversed(ignores):
        number = patterns.last_match(patterns.after_name(state, os.fsencode(name)), folder=False)
        if number is not None:
            return patterns.ignores(number)
    return False


def _entered(ignores: list[_Ignore], name: str) -> tuple[bool, list[_Ignore]]:
    """Whether a folder is left out, and what the patterns have matched when it is entered."""
    states = [patterns.after_name(state, os.fsencode(name)) for patterns, state in ignores]
    inside = [_Ignore(one.patterns, one.patterns.after_slash(now)) for one, now in zip(ignores, states, strict=True)]
    for (patterns, _), state in zip(reversed(ignores), reversed(states), strict=True):
        number = patterns.last_match(state, folder=True)
        if number is not None:
            return patterns.ignores(number), inside
    return False, inside


def _ignore(top: Path, folder: str, on_error: Failed) -> list[_Ignore]:
    """The folder's own .gitignore. As git does, a link is not followed, and one that cannot be read counts as none."""
    try:
        patterns = Patterns(read_regular(top / folder / GITIGNORE, MAX_GITIGNORE, follow=False))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, SkippedError) as error:
        on_error(folder + GITIGNORE, error if isinstance(error, OSError) else OSError(error.reason))
        return []
    return [_Ignore(patterns, patterns.start)] if len(patterns) else []
