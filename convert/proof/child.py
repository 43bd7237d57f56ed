"""Runs a bundle that was just written in a process of its own.

Its memory is not the converter's, and a crash of its engine is an error of the conversion.
"""

from __future__ import annotations

import subprocess
import sys

from c2llm_lite.errors import BundleError


def run(module: str, *arguments: str, stdin: bytes = b"", what: str, remedy: str) -> bytes:
    """What `python -m module` prints. what: what was being run; remedy: how to do without.

    Raises BundleError, with the last line that the process wrote on standard error, where it failed.
    """
    child = subprocess.run([sys.executable, "-m", module, *arguments], input=stdin, capture_output=True)
    if child.returncode != 0:
        told = child.stderr.decode(errors="replace").strip().splitlines()
        reason = told[-1] if told else f"exit {child.returncode}"
        raise BundleError(f"the bundle was written and could not be run {what}: {reason}; {remedy}")
    return child.stdout
