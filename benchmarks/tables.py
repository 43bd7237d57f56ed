"""Writes the README's table of results from the committed results files: `make tables`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")
README = Path("README.md")
BEGIN, END = "<!-- results -->", "<!-- /results -->"
FAMILIES = ("gguf", "openvino", "torch")
HEADER = (
    "| target | NDCG@10 | lost (95% interval) | cosine: mean, 1st percentile | bundle, MB | documents a second "
    "| a query, ms |\n"
    "|---|---|---|---|---|---|---|"
)


def main() -> None:
    found = [
        json.loads(path.read_text()) for family in FAMILIES if (path := RESULTS / f"standin_{family}.json").exists()
    ]
    text = README.read_text()
    speed = RESULTS / "standin_speed.json"
    rates = json.loads(speed.read_text())["rows"] if speed.exists() else {}
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n{_table(found, rates)}\n{END}{after}")


def _table(results: list[dict[str, Any]], rates: dict[str, Any]) -> str:
    first = results[0]
    full = first["rows"][0]
    rows = [f"| {full['target']}, full precision | {full['ndcg@10']:.1f} | | 1 | | {_rate(full, rates)} |"]
    rows += [_row(row, rates) for result in results for row in result["rows"][1:]]
    on = first["on"]
    note = (
        f"{first['pairs']['used']:,} held-out pairs of a docstring and its function from Python's standard library, on "
        "the stand-in checkpoint (135M parameters): what quantisation costs there, which is not what it costs C2LLM. "
        f"Measured {on['date']} on {on['cores']} cores of an {on['cpu']} ({', '.join(on['flags'])}) by `make bench`."
    )
    return "\n".join(["## What it costs and wins", "", HEADER, *rows, "", note])


def _row(row: dict[str, Any], rates: dict[str, Any]) -> str:
    lost, low, high = row["ndcg@10_loss"]
    return (
        f"| {row['target']} | {row['ndcg@10']:.1f} | {lost:.2f} ({low:.2f} to {high:.2f}) | {row['cosine_mean']:.4f}, "
        f"{row['cosine_percentile_1']:.4f} | {row['bytes'] / 1e6:.0f} | {_rate(row, rates)} |"
    )


def _rate(row: dict[str, Any], rates: dict[str, Any]) -> str:
    found = rates.get(row["target"])
    if found is None:
        return " | "
    return f"{found['documents_per_second']:.1f} | {found['query_milliseconds']['p50']:.0f}"


if __name__ == "__main__":
    main()
