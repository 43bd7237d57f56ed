"""`c2llm-lite bench`: what each target of a checkpoint loses, how fast it is, how large; against full precision.

Slow results are kept in OUTPUT/work under the hash of their inputs, so that an interrupted run resumes. Each target
runs in its own processes: vectors first, all targets', then the timings, one after another.
"""

from __future__ import annotations

import functools
import hashlib
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from c2llm_lite import bundle as bundles
from c2llm_lite import child_process
from c2llm_lite.arguments import as_path
from c2llm_lite.convert.calibrate.texts import Texts
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.errors import BundleError, OutputError
from c2llm_lite.pma import Array
from c2llm_lite.progress import Advance, bar

from . import imported
from .data import Task, task
from .hardware import ENGINES, stamp
from .report import write
from .scoring import Measured, scored
from .subjects import Subject, make, subjects
from .verdict import front, not_measured, recommendation

ERRORS = (ValueError, OSError, ImportError, MemoryError)
LATENCY_QUERIES = 32
CODE_CHARACTERS = 40_000  # of the task's documents, from which texts of a length are cut


def bench(
    source: str,
    targets: Sequence[str],
    output: Path,
    *,
    own_bundles: Sequence[Path] = (),
    imports: Sequence[Path] = (),
    data: Sequence[str] = ("stdlib",),
    reference: str = "cpu",
    limit: int | None = None,
    calibrate: Texts | None = None,
    timings: bool = True,
    progress: bool = False,
) -> dict[str, Any]:
    """Measure `targets` of the checkpoint `source`, and bundles made of it elsewhere; write OUTPUT's report.

    imports: reports made on other machines, whose rows are added. reference: the device of full precision, "cpu" or
    "cuda". data: what data.task() takes. limit: of each task, only the first so many queries. calibrate: each quantized
    target is also made with these texts, a row of its own; TARGET@N, with the first N layers, only so. timings: whether
    to measure speed and memory, which other work on the machine would spoil. Returns what results.json contains; a
    target that failed is listed with the reason.

    Raises OutputError if `output` holds another checkpoint's or task's report, DeviceError for a reference on a GPU
    that is not there, what open_checkpoint, subjects, imported.read and data.task() raise, and what the reference fails
    by.
    """
    output = as_path(output, "output")
    checkpoint = open_checkpoint(source)
    sha256 = checkpoint.sha256  # reads all the weights
    tasks = [task(name, limit) for name in data]
    measured = subjects(targets, own_bundles, reference, checkpoint, calibrate)
    elsewhere = [row for folder in imports for row in imported.read(folder, sha256, tasks)]
    work = output / imported.WORK
    _claim(output, {"checkpoint": sha256, "tasks": {t.name: t.sha256 for t in tasks}})
    texts = {t.name: _texts(work, t) for t in tasks}
    embedded = sum(len(t.queries) + len(t.documents) for t in tasks)
    with bar("vectors", embedded * len(measured), "texts", show=progress) as advance:
        for subject in measured:
            with _told(subject, measured[0]):
                make(source, sha256, subject, work)
                for t in tasks:
                    _vectors(work, subject, t, texts[t.name], advance)
    with bar("timings", len(measured), "targets", show=progress and timings) as advance:
        for subject in measured if timings else ():
            with _told(subject, measured[0]):
                if subject.failed is None:
                    _timings(work, subject, tasks[0])
            advance(1)
    rows = [_measured(work, s, tasks, timings) for s in measured if s.failed is None]
    result: dict[str, Any] = {
        "checkpoint": {"name": checkpoint.name, "sha256": sha256},
        "tasks": {t.name: _account(t) for t in tasks},
        "on": stamp(),
        "rows": scored([*rows, *elsewhere], tasks),
        "failed": {subject.label: subject.failed for subject in measured if subject.failed is not None},
    }
    result |= {"front": front(result), "recommendation": recommendation(result), "not_measured": not_measured(result)}
    write(result, output)
    return result


def _claim(output: Path, setup: dict[str, Any]) -> None:
    """Take the folder for this checkpoint and these tasks, or find it taken for the same."""
    path = output / imported.WORK / "setup.json"
    if path.exists():
        if json.loads(path.read_text()) != setup:
            raise OutputError(
                f"{output} contains the report of another checkpoint or other data; choose another folder"
            )
        return
    if output.exists() and any(output.iterdir()):
        raise OutputError(f"{output} exists and is not a report of this command; choose another folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(setup, indent=1))


def _texts(work: Path, t: Task) -> Path:
    path = work / f"texts-{t.sha256[:16]}.json"
    given = [[t.query_prompt, list(t.queries.values())], [t.document_prompt, list(t.documents.values())]]
    path.write_text(json.dumps(given), encoding="utf-8")
    return path


@contextmanager
def _told(subject: Subject, reference: Subject) -> Iterator[None]:
    """Record a failed target in the report and continue; without the reference there is no report."""
    try:
        yield
    except ERRORS as error:
        if subject is reference:
            raise
        subject.failed = str(error)


def _vectors(work: Path, subject: Subject, t: Task, texts: Path, advance: Advance) -> None:
    out = _vectors_file(work, subject, t)
    if out.exists():
        advance(len(t.queries) + len(t.documents))
        return
    _run("task_vectors", [str(subject.ready.folder), str(texts), str(out), subject.device], advance)


def _vectors_file(work: Path, subject: Subject, t: Task) -> Path:
    # On more cores a sum's order may differ, and by far too little to change a figure.
    on = _setup("cores")
    return work / f"vectors-{subject.ready.sha256[:16]}-{t.sha256[:16]}-{subject.device}-{on}.npz"


def _timings(work: Path, subject: Subject, t: Task) -> None:
    out = _timings_file(work, subject)
    if out.exists():
        return
    texts = work / "latency.json"
    code = "\n".join(t.documents.values())[:CODE_CHARACTERS]
    queries = list(t.queries.values())[:LATENCY_QUERIES]
    prompt = subject.ready.manifest.prompts[t.query_prompt]
    texts.write_text(json.dumps({"queries": queries, "code": code, "prompt": prompt}), encoding="utf-8")
    arguments = [str(subject.ready.folder), str(texts), str(time.time()), str(out), subject.device]
    _run("latency", arguments, lambda done: None)


def _timings_file(work: Path, subject: Subject) -> Path:
    return work / f"latency-{subject.ready.sha256[:16]}-{subject.device}-{_setup()}.json"


def _run(module: str, arguments: Sequence[str], advance: Advance) -> None:
    """A file of this folder as a program, which prints a number for each step. Raises BundleError if it fails."""
    command = child_process.command(f"{__package__}.{module}", *arguments)
    with tempfile.TemporaryFile("w+", errors="replace") as told:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told, text=True) as process:
            assert process.stdout is not None
            with child_process.killed_on_error(process):
                for line in process.stdout:
                    advance(int(line))
        if process.returncode != 0:
            told.seek(0)
            lines = told.read().strip().splitlines()
            ended = child_process.crash(process.returncode)
            raise BundleError(lines[-1] if lines else f"ended by {ended}" if ended else "said nothing")


def _measured(work: Path, subject: Subject, tasks: Sequence[Task], timings: bool) -> Measured:
    vectors: dict[str, tuple[Array, Array]] = {}
    for t in tasks:
        with np.load(_vectors_file(work, subject, t), allow_pickle=False) as arrays:
            vectors[t.name] = arrays["queries"], arrays["documents"]
    manifest = subject.ready.manifest
    files = manifest.files
    depth = {"layers": manifest.backbone.layers} if "depth" in manifest.notes else {}
    return Measured(
        subject.label,
        vectors,
        {
            **depth,
            "bytes": sum(record.size for record in files.values()),
            "backbone_bytes": sum(record.size for name, record in files.items() if name in bundles.BACKBONE_FILES),
            "latency": json.loads(_timings_file(work, subject).read_text()) if timings else None,
            "vectors": {t.name: _vectors_file(work, subject, t).name for t in tasks},
        },
    )


def _account(t: Task) -> dict[str, Any]:
    return {"sha256": t.sha256, "queries": len(t.queries), "documents": len(t.documents), "prompt": t.query_prompt}


@functools.cache
def _setup(*others: str) -> str:
    """A short hash of what timings depend on, beside bundle and texts. others: fields of the stamp to leave out."""
    here = {name: value for name, value in stamp().items() if name not in ("date", "free_memory", *others)}
    here["versions"] = {name: version for name, version in here["versions"].items() if name in ENGINES}
    return hashlib.sha256(json.dumps(here, sort_keys=True).encode()).hexdigest()[:8]
