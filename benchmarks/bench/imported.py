"""Rows that `bench` measured on another machine, on the same texts; their vectors are scored here.

Bundles on a laptop are compared with full precision on a GPU this way. Times and memory are those of their machine.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from c2llm_lite.errors import ArgumentError
from c2llm_lite.pma import Array

from .data import Task
from .scoring import Measured

RESULTS = "results.json"
WORK = "work"  # of a report: what it was made from
COSTS = ("bytes", "backbone_bytes", "latency")


def read(report: Path, checkpoint: str, tasks: Sequence[Task]) -> list[Measured]:
    """The rows of the report in this folder, each named with its machine.

    checkpoint: the sha256 that they must be of. Raises ArgumentError where the folder is no report with its vectors, or
    is of another checkpoint or other texts.
    """
    try:
        result = json.loads((report / RESULTS).read_text(encoding="utf-8"))
        found, accounts, rows = result["checkpoint"]["sha256"], result["tasks"], result["rows"]
        machine = result["on"]["cpu"]
        if found != checkpoint:
            raise ArgumentError(f"{report} measured another checkpoint: {found[:16]}, not {checkpoint[:16]}")
        there = {account["sha256"]: name for name, account in accounts.items()}
        for t in tasks:
            if t.sha256 not in there:
                raise ArgumentError(f"{report} was not measured on the same texts as {t.name}: carry the task's folder")
        return [
            Measured(
                f"{row['target']} ({_device(row) or machine})",
                {t.name: _vectors(report, row["vectors"][there[t.sha256]], t) for t in tasks},
                {name: row[name] for name in COSTS},
            )
            for row in rows
        ]
    except (OSError, KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArgumentError(
            f"{report} is not a whole report of this version's bench ({error}): copy its folder with {WORK}/"
        ) from error


def _device(row: dict[str, Any]) -> str | None:
    """A GPU's name; None for a row of the CPU, or one without timings."""
    latency = row["latency"]
    return None if latency is None or latency["peak_vram"] is None else str(latency["engine"]["device"])


def _vectors(report: Path, name: str, t: Task) -> tuple[Array, Array]:
    path = report / WORK / Path(name).name
    try:
        with np.load(path, allow_pickle=False) as arrays:
            queries, documents = arrays["queries"], arrays["documents"]
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ArgumentError(f"{path} is damaged ({error}); copy it again") from error
    if (len(queries), len(documents)) != (len(t.queries), len(t.documents)):
        raise ArgumentError(f"{path} has vectors of other texts than {t.name}")
    return queries, documents
