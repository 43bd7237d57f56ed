"""Writes the README's table of results from the committed report on the stand-in checkpoint: `make tables`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .verdict import DOCUMENT, rate

RESULTS = Path(__file__).with_name("results") / "standin" / "results.json"
README = Path("README.md")
BEGIN, END = "<!-- results -->", "<!-- /results -->"
TASK = "stdlib"
HEADER = (
    f"| target | NDCG@10 | lost (95% interval) | cosine: mean, 1st percentile | bundle, MB | documents of {DOCUMENT} "
    "tokens a second | a query, ms |\n"
    "|---|---|---|---|---|---|---|"
)


def main() -> None:
    result = json.loads(RESULTS.read_text())
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n{_table(result)}\n{END}{after}")


def _table(result: dict[str, Any]) -> str:
    on, account = result["on"], result["tasks"][TASK]
    note = (
        f"{account['queries']:,} held-out pairs of a docstring and its function from Python's standard library, on "
        "the stand-in checkpoint (135M parameters): what quantisation costs there, which is not what it costs C2LLM. "
        f"Measured {on['date']} on {on['cores']} cores of an {on['cpu']} ({', '.join(on['flags'])}) by `make bench`; "
        "the whole report, with pictures, is in [benchmarks/results/standin](benchmarks/results/standin/report.md)."
    )
    return "\n".join(["## What it costs and wins", "", HEADER, *map(_row, result["rows"]), "", note])


def _row(row: dict[str, Any]) -> str:
    found = row["tasks"][TASK]
    lost = cosine = ""
    if "lost" in found:
        mean, low, high = found["lost"]["ndcg@10"]
        lost = f"{mean:.2f} ({low:.2f} to {high:.2f})"
        cosine = f"{found['fidelity']['cosine_mean']:.4f}, {found['fidelity']['cosine_percentile_1']:.4f}"
    return (
        f"| {row['target']} | {found['scores']['ndcg@10']:.1f} | {lost} | {cosine} | {row['bytes'] / 1e6:.0f} "
        f"| {rate(row):.1f} | {row['latency']['query_milliseconds']['p50']:.0f} |"
    )


if __name__ == "__main__":
    main()
