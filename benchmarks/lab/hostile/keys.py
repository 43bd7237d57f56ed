"""Invalid API key files, weak keys, and requests without a key."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from .fixtures import GGUF, Fixtures
from .forks import Case
from .outcome import DifferentError, SlowError, TracebackError
from .server import check_command, check_log, command, serving

PRELOAD: tuple[str, ...] = ()
KEY = "0123456789abcdef0123456789abcdef"
KEY_FILE = "--api-key-file"


def cases(fixtures: Fixtures) -> Iterator[Case]:
    """All of the area."""
    bundle = fixtures.bundle(GGUF)
    for name, make in KEY_FILES.items():
        yield Case(f"a key file that is {name}", partial(_keys_refused, bundle, make), 25)
    for name, make in WEAK_KEY_FILES.items():
        yield Case(f"a key file that is {name}", partial(_keys_warned, bundle, make), 25)
    for path in ("/v1/models", "/metrics", "/openapi.json"):
        yield Case(f"{path} without a key", partial(_without_key, bundle, path), 25)


def _keys_refused(bundle: Path, make: Callable[[Path], object], scratch: Path) -> None:
    """The command ends by itself, in one line."""
    _with_keys(make, scratch)
    with (scratch / "log").open("wb") as log:
        process = subprocess.Popen(command(bundle, KEY_FILE, scratch / "keys"), stdout=log, stderr=log)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            if " at http://" in (scratch / "log").read_text():
                raise DifferentError("taken without a word") from None
            raise SlowError("the server waits for the key file") from None
    check_command(scratch / "log")


def _keys_warned(bundle: Path, make: Callable[[Path], object], scratch: Path) -> None:
    """The server says something of these keys, or refuses them."""
    _with_keys(make, scratch)
    log = scratch / "log"
    try:
        with serving(bundle, log, KEY_FILE, scratch / "keys"):
            pass
    except TracebackError:
        check_log(log)
        return
    if "key" not in log.read_text().replace("keys at http", ""):
        raise DifferentError("no warning")


def _with_keys(make: Callable[[Path], object], scratch: Path) -> None:
    make(scratch / "keys")


def _written(text: str, mode: int = 0o600) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)

    return write


KEY_FILES: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a folder": Path.mkdir,
    "missing": lambda path: None,
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "empty": _written(""),
    "only comments": _written("# nothing\n"),
    "a key with a space": _written("a key\n"),
    "a key with an umlaut": _written("schlüssel\n"),
    "not text": lambda path: path.write_bytes(b"\xff\xfe\0"),
}
WEAK_KEY_FILES = {
    "writable by all": _written(f"{KEY}\n", 0o666),
    "one letter": _written("x\n"),
}


def _without_key(bundle: Path, path: str, scratch: Path) -> None:
    """Where keys are set, each path asks for one, or --help says that it does not."""
    _written(f"{KEY}\n")(scratch / "keys")
    with serving(bundle, scratch / "log", KEY_FILE, scratch / "keys") as server:
        status, _ = server.ask("GET", path)
        if server.ask("GET", path, Authorization=f"Bearer {KEY}")[0] != 200:
            raise DifferentError("a right key is refused")
    if status == 401:
        return
    told = subprocess.run(
        [sys.executable, "-m", "c2llm_lite", "serve", "--help"], capture_output=True, text=True
    ).stdout
    plain = re.sub(r"[^\w/.-]+", " ", told)
    if not re.search(rf"key[^.]*{path}|{path}[^.]*key", plain):
        raise DifferentError("asks for no key, and --help does not say so")
