"""Folders with traps for the search: odd .gitignore files, pipes, links and names."""

from __future__ import annotations

import io
import os
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rich.console import Console

from c2llm_lite.search import Index, show
from c2llm_lite.search.walk import files

from .fixtures import GGUF, Fixtures
from .forks import Case
from .outcome import DifferentError, SlowError, is_ours
from .server import check_command
from .words import model

PRELOAD: tuple[str, ...] = ("tree_sitter_language_pack",)
SECONDS = 12.0  # a grammar takes seconds to recover from some nonsense
NOBODY = 65534
GOOD = "def read(path):\n    return open(path).read()\n"
CONTROLS = ("\x1b]0;x\x07", "\x9b31m", "\x85", "\x7f", "\r", "\n")
TURNING = ("\u202a", "\u202e", "\u2066", "\u2069", "\u200f", "\u061c")  # Unicode's bidirectional controls
FUZZED = 60  # .gitignore files held against git's own answer


def cases(fixtures: Fixtures) -> Iterator[Case]:
    """All of the area."""
    for name, make in IGNORES.items():
        yield Case(f".gitignore is {name}", partial(indexed, partial(_in_place, ".gitignore", make)), SECONDS)
        yield Case(f"a/.gitignore is {name}", partial(indexed, partial(_in_place, "a/.gitignore", make)), SECONDS)
    for name, make in UNREADABLE.items() if os.geteuid() == 0 else ():
        yield Case(f"{name} is not readable", partial(_unprivileged, make), SECONDS)
    for name, text in _patterns().items():
        yield Case(f".gitignore holds {name}", partial(indexed, partial(write, ".gitignore", text)), SECONDS)
        if len(text) < 5_000 and "\n" not in text and "\0" not in text:
            yield Case(f"--path {name}", partial(_searched, text), SECONDS)
    for name, make in FILES.items():
        yield Case(f"a file is {name}", partial(indexed, make), SECONDS)
    for control in (*CONTROLS, *TURNING):
        yield Case(f"a name holds {control!a}", partial(_shown, control, ""), SECONDS)
    for control in CONTROLS:
        yield Case(f"code holds {control!a}", partial(_shown, "", control), SECONDS)
    for name, arguments in COMMANDS.items():
        yield Case(name, partial(_command, fixtures.bundle(GGUF), arguments), 15)
    for number in range(FUZZED):
        yield Case(f".gitignore beside git's answer {number}", partial(_as_git, number), SECONDS)


def _tree(scratch: Path) -> Path:
    tree = scratch / "tree"
    (tree / "a").mkdir(parents=True)
    for path in ("good.py", "a/good.py", f"{'a' * 60}.py"):
        (tree / path).write_text(GOOD)
    return tree


def indexed(make: Callable[[Path], object], scratch: Path) -> None:
    """The folder is indexed whatever it contains, and its good files are found."""
    tree = _tree(scratch)
    make(tree)
    _index(tree, scratch)


def _index(tree: Path, scratch: Path) -> None:
    with Index(model(), tree, index=scratch / "index") as index:
        try:
            index.update()
            index.update()
        except Exception as error:
            if is_ours(error):
                raise DifferentError("one file ends the whole run") from error
            raise
        if index.search("read path open", 3)[0].score < 0.5:
            raise DifferentError("the good file is not found")


def _unprivileged(make: Callable[[Path], object], scratch: Path) -> None:
    """As indexed, by a user who may not read everything, as root may."""
    tree = _tree(scratch)
    _index(tree, scratch)  # what is imported here may lie where that user cannot read
    make(tree)
    scratch.parent.chmod(0o755)
    for path in (scratch, tree, *(scratch / "index").iterdir(), scratch / "index"):
        os.chown(path, NOBODY, NOBODY)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    _index(tree, scratch)


def _searched(pattern: str, scratch: Path) -> None:
    tree = _tree(scratch)
    with Index(model(), tree, index=scratch / "index") as index:
        index.update()
        index.search("read path open", 3, paths=[pattern])


def write(name: str, text: str | bytes, tree: Path) -> None:
    """One file of the tree; a lone surrogate goes as its three bytes."""
    path = tree / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))


def _in_place(name: str, make: Callable[[Path], object], tree: Path) -> None:
    make(tree / name)


def _terminal(path: Path) -> None:
    _, other = os.openpty()
    path.symlink_to(os.ttyname(other))


def _unreadable(path: Path) -> None:
    path.write_text("x")
    path.chmod(0)


def _socket(path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path)[-100:] if len(str(path)) > 100 else str(path))


def _many(tree: Path) -> None:
    for number in range(3000):
        write(f"f{number}.py", f"def f{number}(): pass", tree)


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 200 << 20)


IGNORES: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a folder": Path.mkdir,
    "a terminal": _terminal,
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a link to a folder": lambda path: path.symlink_to("."),
    "a socket": _socket,
    "200 MB of zeros": _sparse,
    "200,000 lines": lambda path: path.write_text("".join(f"x{i}/*.y\n" for i in range(200_000))),
    "a line of 5 MB": lambda path: path.write_text("x" * 5_000_000),
    "5 MB of stars": lambda path: path.write_text("*" * 4_999_999 + "x"),
    "random bytes": lambda path: path.write_bytes(random.Random(0).randbytes(5000)),
}
FILES: dict[str, Callable[[Path], object]] = {
    "a FIFO": lambda tree: os.mkfifo(tree / "x.py"),
    "a socket": lambda tree: _socket(tree / "x.py"),
    "a terminal": lambda tree: _terminal(tree / "x.py"),
    "a link to /dev/zero": lambda tree: (tree / "x.py").symlink_to("/dev/zero"),
    "a link to itself": lambda tree: (tree / "x.py").symlink_to("x.py"),
    "a link to a folder above": lambda tree: (tree / "x").symlink_to(".."),
    "200 MB of zeros": lambda tree: _sparse(tree / "x.py"),
    "called by bytes that are not UTF-8": lambda tree: Path(
        os.fsdecode(os.fsencode(tree) + b"/\xff\xfe.py")
    ).write_text(GOOD),
    "a CACHEDIR.TAG that is a FIFO": lambda tree: os.mkfifo(tree / "a" / "CACHEDIR.TAG"),
    "a .git that is a FIFO": lambda tree: os.mkfifo(tree / ".git"),
    "in 150 folders": lambda tree: (tree / "/".join(["d"] * 150)).mkdir(parents=True),
    "one of 3,000": lambda tree: _many(tree),
}

UNREADABLE: dict[str, Callable[[Path], object]] = {
    ".gitignore": lambda tree: _unreadable(tree / ".gitignore"),
    "a/.gitignore": lambda tree: _unreadable(tree / "a" / ".gitignore"),
    "a file": lambda tree: _unreadable(tree / "x.py"),
    "a folder": lambda tree: (tree / "x").mkdir(0),
}


def _patterns() -> dict[str, str]:
    return {
        "[z-a]": "[z-a]",
        "*a x 30 + *b": "*a" * 30 + "*b",
        "**/a x 30 + b": "**/a/" * 30 + "b",
        "?*?* x 200": "?*" * 200 + "z",
        "[a-z]* x 60": "[a-z]*" * 60 + "!",
        "[!": "[!",
        "[]": "[]",
        "[[:alpha:]": "[[:alpha:]",
        "[[:x:]]": "[[:x:]]",
        "a lone backslash": "\\",
        "a negation alone": "!",
        "a slash": "/",
        "stars and slashes": "/**/**/**/" * 50,
        "brackets x 1,000": "[" * 1000,
        "a class of 5,000 ranges": "[" + "a-b" * 1600 + "]",
        "NUL": "\0",
        "spaces": "   ",
        "a surrogate": "\ud800",
        "a pattern of 1 MB": "*x" * 500_000,
        "10,000 patterns of stars": "\n".join(f"*a*b*c*{i}" for i in range(10_000)),
        "regular expressions": "(a+)+$|(?P<x>y)|{3}^.",
        "a BOM": "\ufeffx",
    }


def _shown(in_name: str, in_code: str, scratch: Path) -> None:
    """Nothing that moves the cursor or turns the text around reaches the terminal."""
    tree = _tree(scratch)
    write(f"x{in_name}y.py", f"def zebra(path):\n    return 'ze{in_code}bra'\n", tree)
    with Index(model(), tree, index=scratch / "index") as index:
        done = index.update()
        hits = index.search("zebra", 3)
    written = io.StringIO()
    console = Console(file=written, width=200)
    show.update(done, console)
    show.hits(hits, console)
    shown = written.getvalue()
    if (in_name and f"x{in_name}y" in shown) or (in_code.strip("\n") and f"ze{in_code}bra" in shown):
        raise DifferentError("the control is shown")


def _command(bundle: Path, arguments: tuple[str, ...], scratch: Path) -> None:
    tree = _tree(scratch)
    with (scratch / "log").open("wb") as log:
        words = ("search", bundle, tree, *arguments, "--index", scratch / "index")
        process = subprocess.Popen([sys.executable, "-m", "c2llm_lite", *map(str, words)], stdout=log, stderr=log)
        try:
            process.wait(12)
        except subprocess.TimeoutExpired:
            process.kill()
            raise SlowError("over 12 s") from None
    check_command(scratch / "log")


COMMANDS = {
    "search --path '[z-a]'": ("read", "--path", "[z-a]"),
    "search --path of stars": ("read", "--path", "*a" * 30 + "*b"),
    "search --like /dev/zero:1": ("--like", "/dev/zero:1"),
    "search --like of a folder": ("--like", "a:1"),
    "search --like of a missing file": ("--like", "none.py:1"),
    "search --like of line 0": ("--like", "good.py:0"),
    "search --like of line 10^30": ("--like", f"good.py:{10**30}"),
    "search --like of a superscript line": ("--like", "good.py:²"),
    "search -k 10^30": ("read", "-k", str(10**30)),
    "search -k 2^40": ("read", "-k", str(2**40)),
    "search for an unknown language": ("read", "--lang", "x"),
    "search for nothing": (" ",),
    "search for a lone surrogate": (os.fsdecode(b"\xff"),),
    "search for 100,000 words": ("word " * 20_000,),
}


def _as_git(number: int, scratch: Path) -> None:
    """The files that git would add are those that are walked."""
    draw = random.Random(f"git {number}")
    tree = scratch / "tree"
    names = ("a", "b", "ab", "foo", "a.py", "b.txt", "x y", "build")
    for _ in range(25):
        path = tree / "/".join(draw.choices(names, k=draw.randint(1, 4)))
        if not any(parent.is_file() for parent in path.parents) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
    pieces = (*names, "*", "?", "**", "/", "/", "!", "[ab]", "[!a]", "\\a", "*.py", "a*", " ", "#", "**/", "/**")
    for folder in ("", *[path.name for path in tree.iterdir() if path.is_dir()][:1]):
        lines = ["".join(draw.choices(pieces, k=draw.randint(1, 4))) for _ in range(draw.randint(1, 6))]
        (tree / folder / ".gitignore").write_text("\n".join(lines) + "\n")
    git = ("git", "-C", str(tree), "-c", "core.quotePath=off", "-c", "safe.directory=*")
    subprocess.run([*git, "init", "-q"], check=True)
    command = [*git, "ls-files", "-z", "--others", "--exclude-standard"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
    wanted = {path for path in listed if path and not path.rpartition("/")[2].startswith(".")}
    if set(files(tree, lambda path, error: None)) != wanted:
        raise DifferentError("other files than git's")
