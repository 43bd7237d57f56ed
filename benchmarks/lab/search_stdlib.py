"""Indexes the running Python's standard library and asks twenty questions.

    python -m c2llm_lite.benchmarks.lab.search_stdlib BUNDLE

Told: the time to index it, and which of the twenty find their file among the first ten. Test folders and installed
packages are skipped. The index is made again each time. The rate beside embed()'s is search_rate.py's.
"""

from __future__ import annotations

import json
import os
import shutil
import sysconfig
from pathlib import Path
from typing import Any

import typer

import c2llm_lite
from c2llm_lite.search import Index, update

from ..bench.hardware import Stolen, engine, stamp

LEFT_OUT = ("test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "lib-dynload", "config-*")
FOUND = 10
LEAST_FOUND = 14
BUILD = Path("build/bench/search_stdlib")
RESULTS = Path(__file__).parents[1] / "results" / "search_stdlib.json"

# What a person would ask, and the file that answers; two where the answer moved between versions or is in both.
QUESTIONS: dict[str, tuple[str, ...]] = {
    "parse a date and time written in ISO 8601 format": ("datetime.py", "_pydatetime.py"),
    "compare two lists of lines and give a unified diff": ("difflib.py",),
    "read the rows of a CSV file as dictionaries": ("csv.py",),
    "make a temporary directory that is removed when the block ends": ("tempfile.py",),
    "copy a whole directory tree to another place": ("shutil.py",),
    "median of a list of numbers": ("statistics.py",),
    "run a command in a child process and capture its output": ("subprocess.py",),
    "remember the results of a function in a least recently used cache": ("functools.py",),
    "wrap a paragraph of text to lines of a given width": ("textwrap.py",),
    "split a shell command line into words, minding quotes": ("shlex.py",),
    "guess the MIME type of a file from its name": ("mimetypes.py",),
    "test whether a file name matches a shell wildcard pattern": ("fnmatch.py",),
    "insert an item into a sorted list where it belongs": ("bisect.py",),
    "the n largest items of an iterable, with a heap": ("heapq.py",),
    "print nested lists and dictionaries nicely indented": ("pprint.py",),
    "sort the nodes of a graph so that each comes after what it depends on": ("graphlib.py",),
    "make a random token that is safe in a URL": ("secrets.py",),
    "extract all members of a zip archive": ("zipfile.py", "zipfile/__init__.py"),
    "send an e-mail message through an SMTP server": ("smtplib.py",),
    "serialise an object to a JSON string": ("json/__init__.py", "json/encoder.py"),
}


def main(bundle: str) -> None:
    """Index the standard library, ask the questions, and write the results."""
    shutil.rmtree(BUILD, ignore_errors=True)
    library = copied(BUILD / "library")
    stolen = Stolen()
    with c2llm_lite.load(bundle) as model, Index(model, library, index=BUILD / "index") as index:
        model.embed("warm up", prompt_name="query")
        load = os.getloadavg()[0]
        done = index.update(progress=True)
        places = {question: _place(index, question, files) for question, files in QUESTIONS.items()}
        found = sum(place is not None for place in places.values())
        result: dict[str, Any] = {
            "target": model.bundle.manifest.target,
            "bundle": model.bundle.sha256,
            "engine": engine(model),
            "files": done.files,
            "pieces": done.pieces,
            "texts": done.embedded,
            "skipped": done.skipped,
            "batch_characters": update.MOST_CHARACTERS,
            "seconds_to_index": round(done.seconds, 1),
            "questions_found": {"found": found, "of": len(QUESTIONS), "least": LEAST_FOUND},
            "places": places,
            "missed": [question for question, place in places.items() if place is None],
            "load": load,
            "stolen": stolen.share(),
            "machine": stamp(),
        }
    RESULTS.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps({name: result[name] for name in ("seconds_to_index", "questions_found")}))
    print("missed:", "; ".join(result["missed"]) or "none")


def copied(folder: Path) -> Path:
    """The installed standard library, without what is skipped."""
    left_out = shutil.ignore_patterns(*LEFT_OUT)
    return Path(shutil.copytree(sysconfig.get_path("stdlib"), folder, ignore=left_out, symlinks=True))


def _place(index: Index, question: str, files: tuple[str, ...]) -> int | None:
    """At which place, from 1, the first piece of one of these files was found; None if it was not."""
    hits = index.search(question, FOUND)
    return next((place for place, hit in enumerate(hits, 1) if hit.path in files), None)


if __name__ == "__main__":
    typer.run(main)
