"""Runs one area's cases in its own warm process and prints the outcomes as JSON lines.

python -m c2llm_lite.benchmarks.lab.hostile.area NAME FIXTURES [WORDS]

WORDS: only the cases whose names hold them, for a look at one of them.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from c2llm_lite import machine

from .fixtures import Fixtures
from .forks import run

AT_ONCE = max(1, machine.cores())


def main(name: str, fixtures: Path, words: str = "") -> None:
    """Import what the area's cases need, then fork for each."""
    area = import_module(f".{name}", __package__)
    for module in area.PRELOAD:
        import_module(module)
    with tempfile.TemporaryDirectory(prefix=f"hostile-{name}-") as work:
        chosen = (case for case in area.cases(Fixtures(fixtures)) if words in case.name)
        for outcome in run(chosen, Path(work), AT_ONCE):
            print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
