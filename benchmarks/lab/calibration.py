"""Measures the gain of each half of a calibration: moved and GPTQ-rounded matrices, and the head's recovery.

    python -m c2llm_lite.benchmarks.lab.calibration CHECKPOINT gguf:int4 openvino:int4

Four bundles a target, scored on development pairs: nearest levels or GPTQ's of moved matrices, with the head as it was
or recovered. Results of other targets stay in the file.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer
from safetensors.numpy import load_file

from c2llm_lite import machine, pma, verify
from c2llm_lite.bundle import HEAD, Bundle
from c2llm_lite.convert import calibration_ids, convert, reference
from c2llm_lite.convert.calibrate import texts as calibration_texts
from c2llm_lite.convert.calibrate.layers import Calibration
from c2llm_lite.convert.calibrate.recovery import recover
from c2llm_lite.convert.checkpoint import Checkpoint, open_checkpoint
from c2llm_lite.convert.targets.registry import parse
from c2llm_lite.engines import open_engine
from c2llm_lite.head_file import states_map
from c2llm_lite.pma import AffineMap, Array
from c2llm_lite.text import TextTokenizer, prompts
from c2llm_lite.vectors import normalize

from ..bench.hardware import stamp
from ..bench.pairs import DEVELOPMENT, development_pairs, list_sha256
from ..bench.results_file import write_results
from ..bench.retrieval import paired_difference, per_query, ranked

RESULTS = Path(__file__).parents[1] / "results" / "calibration.json"
PAIRS = 120  # of the development set, evenly
TOKENS = 512  # of one text
MEASURE = "ndcg@10"


def main(source: str, targets: list[str]) -> None:
    """Calibrate TARGETS of the checkpoint SOURCE on the default texts and add what each half wins to the results."""
    checkpoint = open_checkpoint(source)
    given = calibration_texts.default()
    ids = development_ids(checkpoint)
    full = reference.vectors(checkpoint, ids)
    for target in targets:
        rows = measured(checkpoint, source, target, given=given, ids=ids, full=full)
        _keep(f"{target}, default texts", {"rows": rows, "on": stamp()})
        print(json.dumps(rows, indent=1))


def development_ids(checkpoint: Checkpoint) -> list[list[int]]:
    """Token ids of PAIRS functions, then of their queries."""
    pairs = development_pairs()
    chosen = pairs[:: len(pairs) // PAIRS][:PAIRS]
    tokenizer = TextTokenizer(checkpoint.tokenizer_file, TOKENS)
    return [
        *tokenizer.encode([pair.code for pair in chosen], prompts()["document"]),
        *tokenizer.encode([pair.query for pair in chosen], prompts()["query"]),
    ]


def measured(
    checkpoint: Checkpoint,
    source: str,
    target: str,
    *,
    given: calibration_texts.Texts,
    ids: Sequence[Sequence[int]],
    full: Array,
) -> list[dict[str, Any]]:
    """Four rows. ids, full: the texts that are scored, functions before their queries, and their vectors in fp32."""
    wanted = parse(target)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for rounding, calibrate in (("nearest", None), ("moved, gptq", given)):
            begun = time.monotonic()
            bundle = convert(source, Path(folder) / rounding, target, target_probes=False, calibrate=calibrate)
            if calibrate is None:
                states_map = recover(checkpoint, bundle.folder, Calibration(calibration_ids(checkpoint, given)))
            else:
                states_map = kept_map(bundle)
            seconds = round(time.monotonic() - begun)  # both halves
            row = {"target": target, "bits": round(wanted.converter.kinds(checkpoint)[wanted.kind], 2)}
            row |= {"rounding": rounding, "seconds": seconds}
            rows += [row | found for found in both_heads(checkpoint, bundle, states_map, ids, full)]
    return rows


def kept_map(bundle: Bundle) -> AffineMap:
    """What a calibrated bundle keeps beside its head."""
    kept = states_map(load_file(bundle.path(HEAD)))
    assert kept is not None
    return kept


def both_heads(
    checkpoint: Checkpoint, bundle: Bundle, states_map: AffineMap, ids: Sequence[Sequence[int]], full: Array
) -> Iterator[dict[str, Any]]:
    """Scores with the checkpoint's own head, and with the map absorbed."""
    for head, vectors in zip(("own", "recovered"), _vectors(checkpoint, bundle, states_map, ids), strict=True):
        yield {"head": head} | _scores(vectors, full)


def _vectors(
    checkpoint: Checkpoint, bundle: Bundle, states_map: AffineMap, ids: Sequence[Sequence[int]]
) -> tuple[Array, Array]:
    """With the head as it was, and with the map: the engine's states, pooled by either."""
    heads = [pma.Head(checkpoint.head(), checkpoint.variant, given) for given in (None, states_map)]
    engine = open_engine(bundle, device="auto", threads=machine.cores(), max_tokens=TOKENS)
    means: list[list[Array]] = [[], []]
    for text in ids:
        states = np.concatenate(list(engine.states(text)))
        for head, found in zip(heads, means, strict=True):
            found.append(pma.pool(states, head.queries))
    engine.close()
    own, recovered = (normalize(head.embed(np.stack(found))) for head, found in zip(heads, means, strict=True))
    return own, recovered


def _scores(ours: Array, full: Array) -> dict[str, Any]:
    near = verify.fidelity(ours, full)
    found, wanted = (_per_query(vectors) for vectors in (ours, full))
    lost = paired_difference(wanted, found)
    return {
        MEASURE: round(100 * float(found.mean()), 2),
        "lost": [round(100 * value, 2) for value in (lost.mean, lost.low, lost.high)],
        "cosine_mean": round(near.mean, 4),
        "cosine_percentile_1": round(near.percentile_1, 4),
    }


def _per_query(vectors: Array) -> Any:
    documents, queries = np.split(vectors, 2)
    return per_query(ranked(queries @ documents.T), [{row: 1} for row in range(len(queries))])[MEASURE]


def _keep(name: str, found: dict[str, Any]) -> None:
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept["pairs"] = {"list": DEVELOPMENT.name, "sha256": list_sha256(DEVELOPMENT), "used": PAIRS}
    kept.setdefault("runs", {})[name] = found
    write_results(RESULTS, kept)


if __name__ == "__main__":
    typer.run(main)
