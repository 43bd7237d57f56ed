"""A bundle's vectors for one task, in a process of its own: what `bench` scores.

    python -m c2llm_lite.benchmarks.bench.task_vectors BUNDLE TEXTS.json OUT.npz DEVICE

TEXTS.json: [[prompt's name, [text, …]], …], for queries and documents. Each line of standard output is a number of
texts that are done.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

import c2llm_lite
from c2llm_lite.durable import durable

STEP = 100  # texts between two lines of progress: enough of like length to fill packs


def main(folder: str, texts: str, out: Path, device: str) -> None:
    """Embed the texts, printing a line of progress every STEP texts, and write the vectors to `out`."""
    found = []
    with c2llm_lite.load(folder, device=device) as model:
        for prompt_name, given in json.loads(Path(texts).read_text(encoding="utf-8")):
            parts = []
            for start in range(0, len(given), STEP):
                parts.append(model.embed(given[start : start + STEP], prompt_name=prompt_name))
                print(len(parts[-1]), flush=True)
            found.append(np.concatenate(parts))
    queries, documents = found
    with durable(out) as file:
        np.savez(file, queries=queries, documents=documents)


if __name__ == "__main__":
    bundle, given_texts, written, where = sys.argv[1:]
    main(bundle, given_texts, Path(written), where)
