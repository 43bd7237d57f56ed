"""What each target loses on the stand-in checkpoint: `make bench` writes results/standin_FAMILY.json.

The 1,000 held-out pairs. Full precision is torch:fp32, which the tests hold equal to the checkpoint's own forward. How
fast the targets are is measured apart, side by side (standin_speed.py).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import c2llm_lite
from c2llm_lite import bundle as bundles
from c2llm_lite import verify
from c2llm_lite.convert import convert
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.pma import Array

from .data import HELDOUT, Pair, list_sha256, stdlib_pairs
from .hardware import stamp
from .retrieval import paired_difference, per_query

FULL_PRECISION = "torch:fp32"
TARGETS = {
    "gguf": ("gguf:q8_0", "gguf:iq4_nl", "gguf:q4_0", "gguf:f16"),
    "openvino": ("openvino:int8", "openvino:int4"),
    "torch": ("bnb:int8", "bnb:nf4", "torch:bf16"),
}
RESULTS = Path(__file__).with_name("results")
BUILD = Path("build/bench")
# What every bundle of a checkpoint has, whatever its target.
COMMON = ("LICENSE", "NOTICE", bundles.HEAD, bundles.PROBES, bundles.TOKENIZER, bundles.TOKEN_EMBEDDINGS)


def main(source: str, family: str) -> None:
    """Score every target of `family` on the held-out pairs and write the results file."""
    checkpoint = open_checkpoint(source)
    pairs = stdlib_pairs()
    console = Console()
    queries, documents = _reference(source, checkpoint.sha256(), pairs)
    relevant = list(range(len(pairs)))
    reference = per_query(queries, documents, relevant)
    rows: list[dict[str, Any]] = [_row(FULL_PRECISION, reference, reference)]
    result = {
        "command": f"make bench FAMILIES={family}",
        "checkpoint": {"name": checkpoint.name, "sha256": checkpoint.sha256()},
        "pairs": {"list": HELDOUT.name, "sha256": list_sha256(HELDOUT), "used": len(pairs)},
        "on": stamp(),
        "rows": rows,
    }
    unfinished = BUILD / f"standin_{family}.unfinished.json"
    rows += _rows_of_a_stopped_run(unfinished, result)
    for target in TARGETS[family][len(rows) - 1 :]:
        bundle = convert(source, bundle_folder(target), target, force=True)
        with c2llm_lite.load(bundle.folder) as model:
            ours_queries = model.embed([p.query for p in pairs], prompt_name="query")
            ours_documents = model.embed([p.code for p in pairs], prompt_name="document", progress=True)
        fidelity = verify.fidelity(np.concatenate([ours_queries, ours_documents]), np.concatenate([queries, documents]))
        rows.append(
            _row(target, per_query(ours_queries, ours_documents, relevant), reference)
            | {
                "cosine_mean": fidelity.mean,
                "cosine_percentile_1": fidelity.percentile_1,
                "cosine_worst": fidelity.worst,
                "bytes": sum(f.size for f in bundle.manifest.files.values()),
                "backbone_bytes": sum(f.size for name, f in bundle.manifest.files.items() if name not in COMMON),
            }
        )
        unfinished.write_text(json.dumps(result, indent=1) + "\n")  # a run that is stopped goes on from here
    unfinished.replace(RESULTS / f"standin_{family}.json")
    _show(console, rows)


def _rows_of_a_stopped_run(path: Path, result: dict[str, Any]) -> list[dict[str, Any]]:
    """The targets that an earlier run measured before it was stopped, the first row apart: of the same set-up only."""
    if not path.exists():
        return []
    earlier = json.loads(path.read_text())
    same = all(earlier[part] == result[part] for part in ("checkpoint", "pairs"))
    rows: list[dict[str, Any]] = earlier["rows"][1:] if same and _setup(earlier) == _setup(result) else []
    return rows


def _setup(result: dict[str, Any]) -> list[Any]:
    return [result["on"][name] for name in ("cpu", "cores", "versions", "date")]


def bundle_folder(target: str) -> Path:
    """Where the benchmark keeps its bundle for `target`."""
    return BUILD / target.replace(":", "-")


def _reference(source: str, checkpoint_sha256: str, pairs: list[Pair]) -> tuple[Array, Array]:
    """Full-precision vectors of queries and documents, kept under BUILD by the checkpoint's and the list's hashes."""
    kept = BUILD / f"reference-{checkpoint_sha256[:12]}-{list_sha256(HELDOUT)[:12]}-{len(pairs)}.npz"
    if not kept.exists():
        folder = bundle_folder(FULL_PRECISION)
        bundle = convert(source, folder, FULL_PRECISION, force=True, target_probes=False)
        with c2llm_lite.load(bundle.folder) as model:
            queries = model.embed([p.query for p in pairs], prompt_name="query", progress=True)
            documents = model.embed([p.code for p in pairs], prompt_name="document", progress=True)
        np.savez(kept, queries=queries, documents=documents)
    with np.load(kept, allow_pickle=False) as arrays:
        return arrays["queries"], arrays["documents"]


def _row(name: str, scores: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    loss = paired_difference(reference["ndcg@10"], scores["ndcg@10"])
    return {
        "target": name,
        **{measure: round(100 * float(values.mean()), 2) for measure, values in scores.items()},
        "ndcg@10_loss": [round(100 * x, 2) for x in (loss.mean, loss.low, loss.high)],
    }


def _show(console: Console, rows: list[dict[str, Any]]) -> None:
    table = Table("target", "NDCG@10", "lost (95% interval)", "MRR", "R@10", "cosine", "1st pct", "MB")
    for row in rows:
        mean, low, high = row["ndcg@10_loss"]
        scores = (row["target"], f"{row['ndcg@10']:.1f}", f"{mean:.2f} ({low:.2f} to {high:.2f})")
        more = (f"{row['mrr']:.1f}", f"{row['recall@10']:.1f}")
        costs = ("1", "1", "")
        if "bytes" in row:
            costs = (f"{row['cosine_mean']:.4f}", f"{row['cosine_percentile_1']:.4f}", f"{row['bytes'] / 1e6:.0f}")
        table.add_row(*scores, *more, *costs)
    console.print(table)


if __name__ == "__main__":
    main(*sys.argv[1:])
