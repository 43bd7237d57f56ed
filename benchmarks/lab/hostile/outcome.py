"""The five outcomes of a case, and which exceptions count as this package's own."""

from __future__ import annotations

import errno
import linecache
import re
from pathlib import Path
from typing import NamedTuple

import c2llm_lite
import c2llm_lite.convert

OK, DEATH, HANG, FOREIGN, DIFFERENT = KINDS = ("ok", "death", "hang", "foreign", "different")
EXPLAINED = {
    OK: "the right result, or an error of this package",
    DEATH: "the process was killed by a signal",
    HANG: "the limit of time, memory or file size was reached",
    FOREIGN: "an exception or a traceback that is not this package's",
    DIFFERENT: "another result than the right one, without a word",
}
# Resolved: convert/ may be mapped or linked into the package.
_FOLDERS = [Path(str(module.__file__)).resolve().parent for module in (c2llm_lite, c2llm_lite.convert)]
_RAISE = re.compile(r"\s*raise\b")
_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


class Outcome(NamedTuple):
    """How one case ended. detail: a few words, free of paths."""

    name: str
    kind: str
    detail: str = ""


class DifferentError(Exception):
    """Raised by a case that got a wrong result where an error was due."""


class SlowError(Exception):
    """Raised by a case whose answer came, but too late or at the price of too much memory."""


class TracebackError(Exception):
    """Raised by a case that found a foreign traceback in the output of a command; the message names its exception."""


def judged(name: str, error: BaseException) -> Outcome:
    """The outcome of a case that raised."""
    if isinstance(error, DifferentError):
        return Outcome(name, DIFFERENT, str(error))
    if isinstance(error, SlowError):
        return Outcome(name, HANG, str(error))
    if isinstance(error, TracebackError):
        return Outcome(name, FOREIGN, str(error))
    return Outcome(name, OK if is_ours(error) else FOREIGN, type(error).__name__)


def is_ours(error: BaseException) -> bool:
    """Whether the package raised it on purpose: its own type, or any type by a `raise` statement of its own.

    An OSError that names its file counts too, except for a full disk, which is to be an OutputError.
    """
    if type(error).__module__.partition(".")[0] == "c2llm_lite":
        return True
    if isinstance(error, OSError) and error.filename is not None and error.errno not in _FULL:
        return True
    traceback = error.__traceback__
    if traceback is None:
        return False
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    file = traceback.tb_frame.f_code.co_filename
    line = linecache.getline(file, traceback.tb_lineno)
    return _in_package(file) and _RAISE.match(line) is not None


def _in_package(file: str) -> bool:
    return any(folder in Path(file).resolve().parents for folder in _FOLDERS)
