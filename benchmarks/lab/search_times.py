"""Times what a person waits for when they search, from the start of the process to its last output.

    python -m c2llm_lite.benchmarks.lab.search_times BUNDLE…

On 8 MB of the standard library: words of a new index ready, and the first answer of a hybrid search. On the folder of
this package's search, once all of it is embedded: a second search, by meaning and by words, and one after a change.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import typer

import c2llm_lite.search
from c2llm_lite.bundle import open_bundle

from ..bench.hardware import Stolen, stamp
from ..bench.results_file import write_results
from .search_stdlib import copied

BUILD = Path("build/bench/search_times")
RESULTS = Path(__file__).parents[1] / "results" / "search_times.json"
FILES, BYTES = 1000, 8_000_000
ROUNDS = 3
QUERY = "read all lines of a json file"


def main(bundles: list[str]) -> None:
    """Measure each bundle, print and keep the results by target."""
    found = {open_bundle(bundle).manifest.target: measured(bundle) for bundle in bundles}
    write_results(RESULTS, found)
    print(json.dumps(found, indent=1))


def measured(bundle: str) -> dict[str, Any]:
    """Seconds of each kind of search, with the load of the machine before and after."""
    shutil.rmtree(BUILD, ignore_errors=True)
    large, files, size = _sample(copied(BUILD / "library"))
    small = BUILD / "small"
    shutil.copytree(Path(c2llm_lite.search.__file__).parent, small)
    stolen = Stolen()
    result: dict[str, Any] = {"files": files, "bytes": size, "rounds": ROUNDS, "load_before": os.getloadavg()[0]}
    result["words of a new index"] = _times(bundle, large, "--mode", "lexical", anew=True)
    result["first answer"] = _times(bundle, large, anew=True)
    _search(bundle, small, "--wait")
    result["second search"] = _times(bundle, small)
    result["second search by words"] = _times(bundle, small, "--mode", "lexical")
    result["after a changed file"] = _times(bundle, small, changed=small / "hits.py")
    return result | {"load_after": os.getloadavg()[0], "stolen": stolen.share(), "machine": stamp()}


def _sample(library: Path) -> tuple[Path, int, int]:
    """A folder with the library's first FILES files, or BYTES; how many, and their bytes."""
    folder = BUILD / "large"
    files = size = 0
    for path in sorted(library.rglob("*.py")):
        if files == FILES or size >= BYTES:
            break
        copy = folder / path.relative_to(library)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        files, size = files + 1, size + path.stat().st_size
    return folder, files, size


def _times(
    bundle: str, folder: Path, *options: str, anew: bool = False, changed: Path | None = None
) -> dict[str, float]:
    """Median, fastest and slowest seconds of a search, and the median of the CPU time.

    anew: without an index before. changed: a file that each search finds changed.
    """
    walls, cpus = [], []
    for _ in range(ROUNDS):
        if anew:
            shutil.rmtree(_index(folder), ignore_errors=True)
        if changed is not None:
            changed.write_text(f"{changed.read_text(encoding='utf-8')}\n# one more line\n", encoding="utf-8")
        wall, cpu = _search(bundle, folder, *options)
        walls.append(wall)
        cpus.append(cpu)
    rounded = {"seconds": median(walls), "least": min(walls), "most": max(walls), "cpu": median(cpus)}
    return {name: round(value, 2) for name, value in rounded.items()}


def _index(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-index")


def _search(bundle: str, folder: Path, *options: str) -> tuple[float, float]:
    """Wall and CPU seconds of one search in a process of its own."""
    command = [sys.executable, "-m", "c2llm_lite", "search", bundle, str(folder), QUERY, "--quiet"]
    begun, before = time.monotonic(), os.times()
    subprocess.run([*command, "--index", str(_index(folder)), *options], check=True, capture_output=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.monotonic() - begun, cpu


if __name__ == "__main__":
    typer.run(main)
