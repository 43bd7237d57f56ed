"""Checks whether this machine can run a bundle, before and after anything is installed.

host.py and kit.py use the standard library alone: install.sh runs them out of the kit's own wheel, with the machine's
Python, before it makes anything. engines.py then runs what is installed.
"""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One line of the report.

    Attributes:
        name: What was checked.
        ok: Whether nothing must be fixed.
        text: What was found; if not `ok`, what to do too.
    """

    name: str
    ok: bool
    text: str

    def line(self) -> str:
        """The line as it is printed."""
        return f"{'ok ' if self.ok else 'FIX'}  {self.name}: {self.text}"
