"""The command that starts a module in a child process, its end with this process's work, and what ended it.

A child imports what this process could, and nothing from the current folder: that may be a checkpoint's, and a file
`tokenizers.py` in it would run.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

# `python -c` and `-m` put the current folder first on the path. -P, which keeps it off, came with Python 3.11; -I would
# drop PYTHONPATH and the user's packages too.
_START = (
    "import sys; sys.path[:] = [place for place in sys.path if place]; import runpy; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def command(module: str, *arguments: str) -> list[str]:
    """What starts `module` as a program, without the current folder on its path."""
    return [sys.executable, "-c", _START, module, *arguments]


@contextlib.contextmanager
def killed_on_error(child: subprocess.Popen[Any]) -> Iterator[None]:
    """Kill the child if the block fails or is stopped: of SIGTERM to this process the child is not told."""
    try:
        yield
    except BaseException:
        child.kill()
        child.wait()
        raise


def crash(code: int) -> str | None:
    """What ended a process with this exit code, if it did not exit by itself: a signal, or Windows' exception."""
    if code < 0:
        return signal.Signals(-code).name
    return f"exception 0x{code:08X}" if code >> 31 else None  # such as 0xC000001D, an illegal instruction
