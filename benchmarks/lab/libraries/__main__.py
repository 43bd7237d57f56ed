"""Installs this package beside the newest and the oldest libraries it admits, and on each Python, and tests it there.

    newest   each group of extras that can live together, every library at its newest
    oldest   the same, every library of pyproject.toml at its lower bound; torch as in `newest`
    torch    the torch engine beside torch's lower bound (from PyPI, a CUDA build of gigabytes)
    pythons  the runtime, gguf conversion, search and server on each supported Python

    python -m c2llm_lite.benchmarks.lab.libraries newest oldest-run --folder build/environments

What was installed and what passed goes into results/libraries.json and, as a table, into libraries.md. Environments are
made again each time and removed, unless --keep is given. A Python that is not found is named and skipped.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ...bench.results_file import write_results
from .plan import REPOSITORY, Environment, lower_bounds, sets
from .pythons import Python, find
from .table import RESULTS, write_table

# What tests ask for beside the extras, at its newest; schemathesis asks for newer libraries than the oldest.
NOT_BESIDE_OLDEST = "schemathesis"
TOOLS = ["pytest", "hypothesis", "httpx", "openai", "langchain-openai", "schemathesis"]
TORCHVISION = "import torchvision"
CHECKPOINT = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
import checkpoints
checkpoints.write_checkpoint(pathlib.Path(sys.argv[2]))
"""
LIMIT = 3600  # seconds of one command


class CommandError(Exception):
    """A command that failed; the message is the end of what it printed."""


class Place:
    """One environment on the disk, and how commands are run in it."""

    def __init__(self, python: Python, folder: Path, name: str) -> None:
        self.python = python
        self.folder = folder
        self.venv = folder / name
        shutil.rmtree(self.venv, ignore_errors=True)
        self.run(python.path, "-m", "venv", str(self.venv))

    def run(self, *arguments: str) -> str:
        """Run a command in this environment's root; what it printed. Raises CommandError."""
        command = self.python.command(list(arguments), [REPOSITORY, self.folder])
        environment = os.environ | {"PYTHONPATH": "", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, timeout=LIMIT, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise CommandError("\n".join((done.stdout + done.stderr).splitlines()[-12:]))
        return done.stdout

    def script(self, name: str, *arguments: str) -> str:
        """Run a command that this environment installed."""
        return self.run(str(self.venv / "bin" / name), *arguments)

    def pip(self, *arguments: str) -> str:
        """Run this environment's pip."""
        return self.script("python", "-m", "pip", *arguments)


def measure(environment: Environment, folder: Path, wheel: Path) -> dict[str, Any]:
    """Make one environment with this package's wheel and run its tests; what is written about it."""
    row: dict[str, Any] = {"date": datetime.date.today().isoformat()}
    python = find(environment.python, folder)
    if python is None:
        return row | {"outcome": "skipped", "reason": f"no Python {environment.python} on this machine"}
    place = Place(python, folder, environment.name)
    row["python"] = place.script("python", "-c", "import platform; print(platform.python_version())").strip()
    try:
        row |= install(environment, place, wheel)
        row["bundles"] = bundles(environment, place)
        row["tests"] = run_tests(environment, place)
    except (CommandError, subprocess.TimeoutExpired) as error:
        return row | {"outcome": "failed", "reason": str(error)}
    good = not row["tests"]["failed"] and all(word in ("made", "verified") for word in row["bundles"].values())
    return row | {"outcome": "passed" if good else "failed"}


def without(environment: Environment, extras: list[str]) -> Environment:
    """The environment less some extras, and torch with its own."""
    first = [] if "torch" in extras else environment.first
    return replace(environment, extras=[extra for extra in environment.extras if extra not in extras], first=first)


def install(environment: Environment, place: Place, wheel: Path) -> dict[str, Any]:
    """Install the extras that have a wheel for each library; their versions, and for the others what is missing."""
    options = ["--quiet", "--find-links", str(wheel.parent), "--only-binary", ":all:"]
    if environment.oldest:
        constraints = place.folder / f"{environment.name}.txt"
        pinned = {name: bound for name, bound in lower_bounds().items() if name != "torch"}
        constraints.write_text("".join(f"{name}=={bound}\n" for name, bound in pinned.items()), encoding="utf-8")
        options += ["--constraint", str(constraints)]
    place.pip("install", "--quiet", "--upgrade", "pip")
    if environment.first:
        place.pip("install", *options, *environment.first)
    extras, lacking = [], {}
    for extra in environment.extras:
        try:
            place.pip("install", "--dry-run", *options, f"{wheel}[{extra}]", *environment.first)
            extras.append(extra)
        except CommandError as error:
            lacking[extra] = str(error).splitlines()[-1]
    tools = [tool for tool in TOOLS if not (environment.oldest and tool == NOT_BESIDE_OLDEST)]
    place.pip("install", *options, f"{wheel}[{','.join(extras)}]", *environment.first, *tools)
    # optimum-intel asks for torchvision, whose PyPI build does not fit a CPU-only torch.
    try:
        place.script("python", "-c", TORCHVISION)
    except CommandError:
        place.pip("uninstall", "--quiet", "--yes", "torchvision")
    versions = {one["name"]: one["version"] for one in json.loads(place.pip("list", "--format", "json"))}
    return {"extras": extras, "lacking": lacking, "versions": versions}


def build(folder: Path) -> Path:
    """In `folder`, this package's wheel and llama-cpp-python's, which its index has none of; both fit any Python."""
    source = folder / "source"
    for part in ("c2llm_lite", "convert", "benchmarks"):
        shutil.copytree(REPOSITORY / part, source / part, ignore=shutil.ignore_patterns("__pycache__", "results"))
    for part in ("README.md", "LICENSE"):
        shutil.copy(REPOSITORY / part, source)
    settings = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    # Some tests ask the lab, which a release leaves out.
    bench, lab = (f'    "c2llm_lite.benchmarks.{part}",\n' for part in ("bench", "lab"))
    (source / "pyproject.toml").write_text(settings.replace(bench, bench + lab, 1), encoding="utf-8")
    (llama_cpp,) = {text for text in settings.split('"') if text.startswith("llama-cpp-python==")}
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run([*pip, str(source), llama_cpp], check=True)
    (wheel,) = folder.glob("c2llm_lite-*.whl")
    return wheel


def bundles(environment: Environment, place: Place) -> dict[str, str]:
    """Make this environment's bundles, or verify those that another made: each target with "made" or what failed."""
    made = place.folder / "bundles"
    found = {}
    if environment.makes:
        shutil.rmtree(made, ignore_errors=True)
        place.script("python", "-c", CHECKPOINT, str(REPOSITORY / "tests"), str(made / "checkpoint"))
    for target in environment.makes:
        bundle = str(made / target.replace(":", "-"))
        place.script("c2llm-lite", "convert", str(made / "checkpoint"), "-o", bundle, "--to", target)
        found[target] = "made"
    engines = {"gguf": "llama-cpp", "openvino": "openvino", "torch": "torch", "bnb": "bitsandbytes"}
    held = {*environment.extras, *(["torch"] if "bitsandbytes" in environment.extras else [])}
    for path in sorted(made.glob("*-*")):
        if environment.makes or engines[path.name.partition("-")[0]] not in held:
            continue
        try:
            place.script("c2llm-lite", "verify", str(path))
            found[path.name.replace("-", ":")] = "verified"
        except CommandError as error:
            found[path.name.replace("-", ":")] = str(error)
    return found


def run_tests(environment: Environment, place: Place) -> dict[str, Any]:
    """Run the rooms' tests; counts, the names of what failed, and why others were skipped."""
    report = place.folder / f"{environment.name}.xml"
    report.unlink(missing_ok=True)
    rooms = [str(REPOSITORY / "tests" / room) for room in environment.rooms]
    options = ["-q", "-p", "no:cacheprovider", "--continue-on-collection-errors", f"--junitxml={report}"]
    try:
        place.script("python", "-m", "pytest", *options, *rooms)
    except CommandError:
        if not report.exists():
            raise
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    wrong = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    failed = [f"{case.get('classname')}.{case.get('name')}" for case in wrong]
    skips = [skip.get("message", "") for case in cases if (skip := case.find("skipped")) is not None]
    return {
        "passed": len(cases) - len(failed) - len(skips),
        "failed": failed,
        "skipped": {reason: skips.count(reason) for reason in sorted(set(skips))},
    }


def main() -> None:
    """Make and test what is asked for, one environment after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", help="newest, oldest, torch, pythons, or one environment's name")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "build" / "environments")
    parser.add_argument("--without", nargs="*", default=[], help="extras to leave out")
    parser.add_argument("--keep", action="store_true", help="leave the environments in the folder")
    options = parser.parse_args()
    folder: Path = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    known = sets() | {one.name: [one] for several in sets().values() for one in several}
    failed = False
    with tempfile.TemporaryDirectory(dir=folder, prefix="wheels-") as wheels:
        wheel = build(Path(wheels))
        for environment in (one for what in options.what for one in known[what]):
            left_out = sorted({*options.without} & {*environment.extras})
            row = measure(without(environment, left_out), folder, wheel)
            if left_out:
                row["left out"] = left_out
            rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
            write_results(RESULTS, rows | {environment.name: row})
            write_table()
            print(environment.name, row["outcome"], row.get("reason", ""), flush=True)
            failed |= row["outcome"] == "failed"
            if not options.keep:
                shutil.rmtree(folder / environment.name, ignore_errors=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
