"""git's excludes outside .gitignore files: the repository's info/exclude, and the user's core.excludesFile.

git itself may not be installed here, so its configuration is read as far as this needs; files that it includes are not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from .read import SkippedError, read_regular

MAX_BYTES = 1 << 20  # of one file
_SECTION = re.compile(r"\s*\[\s*([\w.-]+)\s*(?:\"(?:[^\"\\]|\\.)*\")?\s*\]")
_EXCLUDES_FILE = re.compile(r"\s*excludesfile\s*=\s*(.*)", re.IGNORECASE)


def contents(top: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of each such file of a repository, the one that decides last last. top: it has a `.git`."""
    git = git_folder(top)
    if git is None:
        return
    for path in (_users_file(git), git / "info" / "exclude"):
        content = _read(path) if path is not None else None
        if content:
            yield str(path), content


def git_folder(top: Path) -> Path | None:
    """The repository's own folder, which linked worktrees share; None if `top` has none that can be read."""
    git = top / ".git"
    if git.is_dir():
        return git
    linked = linked_to(top)
    if linked is None:
        return None
    common = _read(linked / "commondir")
    return linked / os.fsdecode(common).strip() if common else linked


def linked_to(folder: Path) -> Path | None:
    """What a `.git` file of this folder names: a submodule's own folder, or a linked worktree's."""
    content = _read(folder / ".git") or b""
    if not content.startswith(b"gitdir:"):
        return None
    return folder / os.fsdecode(content.removeprefix(b"gitdir:")).strip()


def is_linked_worktree(folder: Path) -> bool:
    """Whether `git worktree add` made this folder: the same code again. A submodule has a `.git` file too."""
    linked = linked_to(folder)
    return linked is not None and linked.parent.name == "worktrees"


def _users_file(git: Path) -> Path | None:
    """core.excludesFile, or where git looks without one; None for a user without a home folder."""
    config = os.environ.get("XDG_CONFIG_HOME")
    home = os.environ.get("HOME") or os.environ.get("USERPROFILE")
    own = Path(config) / "git" if config else Path(home) / ".config" / "git" if home else None
    users = os.environ.get("GIT_CONFIG_GLOBAL")
    configs = [Path(users)] if users else [own / "config" if own else None, Path(home) / ".gitconfig" if home else None]
    found = None
    for path in (*configs, git / "config"):
        named = _excludes_file(path) if path is not None else None
        found = named if named is not None else found
    if found is None:
        return own / "ignore" if own else None
    if found.startswith("~/"):
        return Path(home) / found[2:] if home else None
    return git.parent / found if found else None


def _excludes_file(config: Path) -> str | None:
    found, section = None, ""
    for line in (_read(config) or b"").decode(errors="replace").splitlines():
        if named := _SECTION.match(line):
            section = named[1].lower()
        elif section == "core" and (setting := _EXCLUDES_FILE.match(line)):
            value = setting[1].strip()
            found = value[1:].partition('"')[0] if value.startswith('"') else re.split(r"\s[#;]", value)[0].strip()
    return found


def _read(path: Path) -> bytes | None:
    try:
        return read_regular(path, MAX_BYTES)
    except (OSError, SkippedError, ValueError):
        return None
