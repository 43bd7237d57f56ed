"""Walks a folder's files, except those that .gitignore excludes.

Hidden files and folders are skipped, as in ripgrep (virtual environments, caches, .git), and so are links (a link's
target is read in its own place), node_modules, and folders marked as caches (CACHEDIR.TAG).
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
MAX_GITIGNORE = 4 << 20  # bytes of a folder's own .gitignore and of all above it, which are in memory together

Failed = Callable[[str, OSError], None]


class _Ignore(NamedTuple):
    """A .gitignore's patterns, and what they have matched of the way from its folder to the one at hand."""

    patterns: Patterns
    state: int


def files(folder: Path, on_error: Failed, on_link: Callable[[str], None] = lambda path: None) -> Iterator[str]:
    """Paths below `folder`, with /, in a fixed order.

    If `folder` is in a repository and not ignored itself, .gitignore files count from the repository's top down.
    on_error: called for each unreadable folder and .gitignore; the walk continues.
    on_link: called for each link that .gitignore does not leave out.
    Raises OSError if `folder` itself cannot be listed.
    """
    folder = folder.resolve()
    top = next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder)
    names = folder.relative_to(top).parts
    at = "".join(f"{name}/" for name in names)
    ignores: list[_Ignore] = []
    above = ""
    for name in names:
        ignores = [*ignores, *_ignore(top, above, ignores, on_error)]
        above += f"{name}/"
        ignored, ignores = _entered(ignores, name)
        if ignored:
            ignores = []
            break
    return _below(top, at, ignores, on_error, on_link)


def matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path fits one of these patterns, written as .gitignore has them: `*.py`, `src/`, `src/**/test_*`.

    Of those that match the path or a folder of it, the last one decides: `src/` then `!src/gen/` leaves src/gen/ out.
    """
    wanted = Patterns(os.fsencode("\n".join(patterns)))

    def fits(path: str) -> bool:
        *folders, name = map(os.fsencode, path.split("/"))
        state, last = wanted.start, -1
        for folder in folders:
            state = wanted.after_name(state, folder)
            last = max(last, -1 if (found := wanted.last_match(state, folder=True)) is None else found)
            state = wanted.after_slash(state)
        found = wanted.last_match(wanted.after_name(state, name), folder=False)
        last = max(last, -1 if found is None else found)
        return last >= 0 and wanted.ignores(last)

    return fits


def _below(top: Path, at: str, above: list[_Ignore], on_error: Failed, on_link: Callable[[str], None]) -> Iterator[str]:
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
        ignores = [*ignores, *_ignore(top, folder, ignores, on_error)]
        folders = []
        for entry in entries:
            if entry.name.startswith(".") or entry.name in PASSED:
                continue
            path = folder + entry.name
            if entry.is_symlink():
                if not _ignored(ignores, entry.name):
                    on_link(path[len(at) :])
            elif entry.is_dir(follow_symlinks=False):
                ignored, inside = _entered(ignores, entry.name)
                if not ignored:
                    folders.append((f"{path}/", inside))
            elif entry.is_file(follow_symlinks=False) and not _ignored(ignores, entry.name):
                yield path[len(at) :]
        waiting += reversed(folders)


def _ignored(ignores: list[_Ignore], name: str) -> bool:
    """Whether a file is skipped: the innermost .gitignore that says anything of it decides."""
    for patterns, state in reversed(ignores):
        number = patterns.last_match(patterns.after_name(state, os.fsencode(name)), folder=False)
        if number is not None:
            return patterns.ignores(number)
    return False


def _entered(ignores: list[_Ignore], name: str) -> tuple[bool, list[_Ignore]]:
    """Whether a folder is skipped, and what the patterns have matched when it is entered."""
    states = [patterns.after_name(state, os.fsencode(name)) for patterns, state in ignores]
    inside = [_Ignore(one.patterns, one.patterns.after_slash(now)) for one, now in zip(ignores, states, strict=True)]
    for (patterns, _), state in zip(reversed(ignores), reversed(states), strict=True):
        number = patterns.last_match(state, folder=True)
        if number is not None:
            return patterns.ignores(number), inside
    return False, inside


def _ignore(top: Path, folder: str, above: list[_Ignore], on_error: Failed) -> list[_Ignore]:
    """The folder's own .gitignore. As git does, a link is not followed, and one that cannot be read counts as none."""
    try:
        content = read_regular(top / folder / GITIGNORE, MAX_GITIGNORE, follow=False)
        if len(content) + sum(patterns.size for patterns, _ in above) > MAX_GITIGNORE:
            raise SkippedError(f"over {MAX_GITIGNORE >> 20} MiB with those above it")
        patterns = Patterns(content)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, SkippedError) as error:
        on_error(folder + GITIGNORE, error if isinstance(error, OSError) else OSError(error.reason))
        return []
    return [_Ignore(patterns, patterns.start)] if len(patterns) else []
