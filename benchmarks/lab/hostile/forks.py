"""Runs each case in a child forked from this warm process, under limits of time, memory and file size.

A fork takes milliseconds where a new interpreter with its imports takes seconds. Nothing in this process may start a
thread pool before the forks: engines are opened in the children alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from c2llm_lite import machine

from .outcome import DEATH, HANG, Outcome, judged

SECONDS = 10.0  # for one case; a right answer takes a tenth of it at most
MEMORY = 4 << 30  # bytes of address space beyond what the fork starts with
FILE = 256 << 20  # bytes of one file: what never ends is stopped before the disk is full


@dataclass(frozen=True)
class Case:
    """run: given an empty folder; returns nothing if all is well, raises, or returns the outcomes of many tries."""

    name: str
    run: Callable[[Path], list[Outcome] | None]
    seconds: float = SECONDS


@dataclass(frozen=True)
class _Running:
    case: Case
    folder: Path
    ends: float

    @property
    def log(self) -> Path:
        return self.folder.with_suffix(".log")

    @property
    def result(self) -> Path:
        return self.folder.with_suffix(".json")


def run(cases: Iterable[Case], work: Path, at_once: int) -> Iterator[Outcome]:
    """The outcome of each case, as they end."""
    running: dict[int, _Running] = {}
    for number, case in enumerate(cases):
        while len(running) >= at_once:
            yield from _reap(running)
        folder = work / f"case{number}"
        folder.mkdir()
        begun = _Running(case, folder, time.monotonic() + case.seconds * _slowed())
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _child(begun)
        running[child] = begun
    while running:
        yield from _reap(running)


def _slowed() -> float:
    """How many times as long things take, now that others work here too."""
    return max(1.0, os.getloadavg()[0] / machine.cores())


def _child(begun: _Running) -> None:
    """Never returns."""
    os.setsid()
    log = os.open(begun.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    result = begun.result.open("w")  # now: a case may give up the right to
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it: a file without end would look like a full disk
    os.chdir(begun.folder)
    try:
        found = begun.case.run(begun.folder) or [Outcome(begun.case.name, "ok")]
    except BaseException as error:
        found = [judged(begun.case.name, error)]
        sys.excepthook(type(error), error, error.__traceback__)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    result.write(json.dumps(found))
    result.close()
    os._exit(0)


def _reap(running: dict[int, _Running]) -> Iterator[Outcome]:
    """Wait a moment; the outcomes of those children that have ended or run out of time."""
    time.sleep(0.002)
    for child, begun in list(running.items()):
        ended, status = os.waitpid(child, os.WNOHANG)
        late = not ended and time.monotonic() > begun.ends
        if not ended and not late:
            continue
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # and what it started
        if late:
            os.waitpid(child, 0)
        del running[child]
        yield from _outcomes(begun, status, late)
        _clear(begun)


def _outcomes(begun: _Running, status: int, late: bool) -> list[Outcome]:
    name = begun.case.name
    if late:
        return [Outcome(name, HANG, f"over {begun.case.seconds:.0f} s")]
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGXFSZ:
        return [Outcome(name, HANG, f"a file of over {FILE >> 20} MiB")]
    if code < 0:
        return [Outcome(name, DEATH, signal.Signals(-code).name)]
    if not (text := begun.result.read_text()):
        return [Outcome(name, DEATH, f"exit {code}")]
    return [Outcome(*found) for found in json.loads(text)]


def _clear(begun: _Running) -> None:
    for path in begun.folder.iterdir():
        if path.is_mount():
            subprocess.run(["umount", "--lazy", path], check=True)
    shutil.rmtree(begun.folder, ignore_errors=True)
    for path in (begun.log, begun.result):
        path.unlink(missing_ok=True)
