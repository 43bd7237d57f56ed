"""Embeds the 20 texts beside this file with a bundle, verifies the bundle, and writes what this machine gave.

    python -m c2llm_lite.benchmarks.lab.emulation.vectors BUNDLE OUT.json

The same command runs on the machine to compare with and on the emulated one. Needs what the bundle needs, no more.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

from c2llm_lite import load
from c2llm_lite.verify import read_texts, verify

from ...bench.hardware import engine, stamp

TEXTS = Path(__file__).with_name("texts.jsonl")


def run(bundle: str) -> dict[str, Any]:
    """What the bundle gives here: vectors, its engine, the probes' cosines, seconds."""
    texts = read_texts(TEXTS)
    began = time.monotonic()
    with load(bundle) as model:
        opened = time.monotonic()
        vectors = model.embed(texts)
        embedded = time.monotonic()
        used, target = engine(model), model.bundle.manifest.target
    probes = verify(bundle)
    return {
        "target": target,
        "engine": used,
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
        "stamp": stamp(),
        "seconds": {
            "load": round(opened - began, 1),
            "texts": round(embedded - opened, 1),
            "verify": round(time.monotonic() - embedded, 1),
        },
        "probes": {
            "passed": sum(probe.passed for probe in probes),
            "of": len(probes),
            "own": [probe.own for probe in probes],
            "full": [probe.full for probe in probes],
        },
        "vectors": vectors.tolist(),
    }


if __name__ == "__main__":
    found = run(sys.argv[1])
    Path(sys.argv[2]).write_text(json.dumps(found))
    print(f"{found['target']}: {found['seconds']}, {found['probes']['passed']} of {found['probes']['of']} probes pass")
