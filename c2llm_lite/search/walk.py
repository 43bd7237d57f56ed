"""Walks a folder's files, except those that are ignored or are not code.

Ignored: by .gitignore, by git's other excludes (git_excludes.py), by .c2llmignore, and by patterns that the caller
adds. The last two decide over git's, and .c2llmignore takes in again what not_code.py leaves out. Hidden files and
folders are skipped, as in ripgrep (.git, caches), and so are links: a link's target is read in its own place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from . import git_excludes, not_code
from .gitignore import Patterns
from .read import SkippedError, read_regular

GITIGNORE = ".gitignore"
OWN = ".c2llmignore"
LINK = "link"  # reason
MAX_GITIGNORE = 4 << 20  # bytes of a folder's own ignore files and of all above it, which are in memory together

Failed = Callable[[str, OSError], None]
Noted = Callable[[str, str], None]


class _Ignore(NamedTuple):
    """A file's patterns, and what they have matched of the way from its folder to the one at hand."""

    patterns: Patterns
    state: int


class _Ignores(NamedTuple):
    """Of each, the last that says anything of a path decides; `own` before `git`."""

    git: list[_Ignore]
    own: list[_Ignore]


def files(
    folder: Path,
    on_error: Failed,
    on_skip: Noted = lambda path, reason: None,
    *,
    exclude: Sequence[str] = (),
    include: Sequence[str] = (),
) -> Iterator[str]:
    """Paths below `folder`, with /, in a fixed order.

    If `folder` is in a repository and not ignored itself, ignore files count from the repository's top down.
    on_error: called for each unreadable folder and ignore file; the walk continues.
    on_skip: called with the reason for each link (LINK), and for what is not code by its name.
    exclude, include: patterns as .gitignore has them, below `folder`; with `include`, only what fits one is listed.
    Raises OSError if `folder` itself cannot be listed.
    """
    folder = folder.resolve()
    top = next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder)
    names = folder.relative_to(top).parts
    at = "".join(f"{name}/" for name in names)
    users = [Patterns(content) for _, content in git_excludes.contents(top)]
    ignores = _Ignores([_Ignore(one, one.start) for one in users if len(one)], [])
    above = ""
    for name in names:
        ignores = _with_files(top, above, ignores, on_error)
        above += f"{name}/"
        reason, ignores = _entered(ignores, name)
        if reason is not None:
            ignores = _Ignores([], [])
            break
    added = [not_code.PATTERNS, *([Patterns(os.fsencode("\n".join(exclude)))] if exclude else [])]
    rules, *excluded = [_Ignore(one, one.start) for one in added]
    ignores = ignores._replace(own=[rules, *ignores.own])
    wanted = matcher(include) if include else lambda path: True
    return (path for path in _below(top, at, (ignores, excluded), on_error, on_skip) if wanted(path))


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


def _below(
    top: Path, at: str, above: tuple[_Ignores, list[_Ignore]], on_error: Failed, on_skip: Noted
) -> Iterator[str]:
    """Depth first, names in order. Paths are kept as strings: a large tree has many.

    above: the ignore files, and the patterns that decide after every folder's own.
    """
    waiting = [(at, *above)]
    while waiting:
        folder, ignores, excluded = waiting.pop()
        try:
            with os.scandir(top / folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            if folder == at:
                raise
            on_error(folder[len(at) : -1], error)
            continue
        if folder != at and (reason := _passed(top / folder, {entry.name for entry in entries})):
            on_skip(folder[len(at) :], reason)
            continue
        ignores = _with_files(top, folder, ignores, on_error)
        every = ignores._replace(own=ignores.own + excluded)
        folders = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = folder + entry.name
            is_folder = entry.is_dir(follow_symlinks=False)
            reason, inside = _entered(every, entry.name) if is_folder else (_ignored(every, entry.name), every)
            if reason:
                on_skip(path[len(at) :] + "/" * is_folder, reason)
            elif reason is not None:
                continue
            elif entry.is_symlink():
                on_skip(path[len(at) :], LINK)
            elif is_folder:
                split = len(inside.own) - len(excluded)
                folders.append((f"{path}/", inside._replace(own=inside.own[:split]), inside.own[split:]))
            elif entry.is_file(follow_symlinks=False):
                yield path[len(at) :]
        waiting += reversed(folders)


def _passed(folder: Path, names: set[str]) -> str | None:
    """Why a folder is passed over, by what is in it."""
    if not_code.CACHE_TAG in names:
        return "cache"
    if not_code.VIRTUAL_ENVIRONMENT in names:
        return "virtual environment"
    if ".git" in names and git_excludes.is_linked_worktree(folder):
        return "linked worktree"
    return None


def _ignored(ignores: _Ignores, name: str) -> str | None:
    """Why a file is skipped: a reason of not_code.py, or "" for an ignore file's; None if it is not."""
    for chain in (ignores.own, ignores.git):
        for patterns, state in reversed(chain):
            number = patterns.last_match(patterns.after_name(state, os.fsencode(name)), folder=False)
            if number is not None:
                return _reason(patterns, number)
    return None


def _entered(ignores: _Ignores, name: str) -> tuple[str | None, _Ignores]:
    """Why a folder is skipped, as of a file, and what the patterns have matched when it is entered."""
    inside: list[list[_Ignore]] = []
    reason: str | None = None
    decided = False
    for chain in (ignores.own, ignores.git):
        states = [patterns.after_name(state, os.fsencode(name)) for patterns, state in chain]
        entered = [_Ignore(one.patterns, one.patterns.after_slash(now)) for one, now in zip(chain, states, strict=True)]
        inside.append(entered)
        for (patterns, _), state in zip(reversed(chain), reversed(states), strict=True):
            number = None if decided else patterns.last_match(state, folder=True)
            if number is not None:
                reason, decided = _reason(patterns, number), True
    return reason, _Ignores(git=inside[1], own=inside[0])


def _reason(patterns: Patterns, number: int) -> str | None:
    if not patterns.ignores(number):
        return None
    return not_code.REASONS[number] if patterns is not_code.PATTERNS else ""


def _with_files(top: Path, folder: str, above: _Ignores, on_error: Failed) -> _Ignores:
    """With the folder's own ignore files. A link is not followed, as in git; an unreadable file counts as none."""
    size = sum(patterns.size for chain in above for patterns, _ in chain if patterns is not not_code.PATTERNS)
    read = [_ignore_file(top, folder + name, size, on_error) for name in (GITIGNORE, OWN)]
    return _Ignores(above.git + read[0], above.own + read[1])


def _ignore_file(top: Path, path: str, size: int, on_error: Failed) -> list[_Ignore]:
    try:
        content = read_regular(top / path, MAX_GITIGNORE, follow=False)
        if len(content) + size > MAX_GITIGNORE:
            raise SkippedError(f"over {MAX_GITIGNORE >> 20} MiB with those above it")
        patterns = Patterns(content)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, SkippedError) as error:
        on_error(path, error if isinstance(error, OSError) else OSError(error.reason))
        return []
    return [_Ignore(patterns, patterns.start)] if len(patterns) else []
