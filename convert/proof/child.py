"""Runs a module in a child process, so that its memory is separate and an engine's crash is only an error."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO

from c2llm_lite.child_process import command, crash, killed_on_error
from c2llm_lite.errors import BundleError, DeviceError, MissingDependencyError, OutputError
from c2llm_lite.progress import Advance

CANNOT_RUN_HERE = 3  # exit codes of a child; the reason is the last line of its standard error
CANNOT_WRITE = 4


class CannotRunHereError(Exception):
    """This machine lacks the engine, the device or the memory that a bundle takes; another may have them."""


def run(
    module: str, *arguments: str, stdin: bytes = b"", what: str, remedy: str, advance: Advance | None = None
) -> bytes:
    """What the module prints. what: what the bundle was to do; remedy: how to do without.

    advance: called with each number that the module prints on a line of its own; then nothing is returned.

    Raises CannotRunHereError for what the child reported() as such, or where the system ended it for its memory;
    OutputError if it could not write; BundleError if it failed in another way.
    """
    with tempfile.TemporaryFile() as errors:
        child, printed = _finished(command(module, *arguments), stdin, errors, advance)
        errors.seek(0)
        lines = errors.read().decode(errors="replace").strip().splitlines()
    if child.returncode == 0:
        return printed
    reason = lines[-1] if lines else f"exit {child.returncode}"
    if child.returncode == CANNOT_RUN_HERE:
        raise CannotRunHereError(reason)
    if child.returncode == -getattr(signal, "SIGKILL", 9):  # Linux ends what takes the last memory this way
        raise CannotRunHereError("its process was killed, probably because memory ran out")
    if child.returncode == CANNOT_WRITE:
        raise OutputError(f"could not write the new bundle's results {what}: {reason}")
    if name := crash(child.returncode):
        reason = f"its process crashed with {name}"
    raise BundleError(f"the new bundle could not be run {what} and was deleted: {reason}; {remedy}")


def _finished(
    command: list[str], stdin: bytes, errors: IO[bytes], advance: Advance | None
) -> tuple[subprocess.Popen[bytes], bytes]:
    """The process when it has ended, and what it printed. It must read its input before it prints."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
    assert child.stdin is not None
    assert child.stdout is not None
    printed = b""
    with killed_on_error(child):
        with child.stdout:
            with contextlib.suppress(BrokenPipeError), child.stdin:  # it may end without reading
                child.stdin.write(stdin)
            if advance is None:
                printed = child.stdout.read()
            else:
                for line in child.stdout:
                    if line.strip().isdigit():
                        advance(int(line))
        child.wait()
    return child, printed


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """In the child: give the parent's run() the exit code, and the line, from which it tells why the work failed."""
    try:
        yield
    except (MissingDependencyError, DeviceError, MemoryError) as error:
        sys.stderr.write(f"\n{str(error) or 'not enough memory'}\n")
        sys.exit(CANNOT_RUN_HERE)
    except OSError as error:
        sys.stderr.write(f"\n{error}\n")
        sys.exit(CANNOT_WRITE)
