"""Writes the README's tables from the committed results: the reports on the stand-in, and the peers: `make tables`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..bench.verdict import DOCUMENT, rate

RESULTS = Path(__file__).parents[1] / "results"
README = Path("README.md")
TASK = "stdlib"
HEADER = (
    f"| target | NDCG@10 | lost (95% interval) | cosine: mean, 1st percentile | bundle, MB | documents of {DOCUMENT} "
    "tokens a second | a query, ms |\n"
    "|---|---|---|---|---|---|---|"
)
PEERS = "| | documents a second | queries a second | one query, ms |\n|---|---|---|---|"


def main() -> None:
    """Replace the marked sections of the README."""
    text = README.read_text()
    targets = _targets(("standin", "bench"), ("standin_calibrated", "-f benchmarks/lab/Makefile calibrated"))
    for mark, section in (("results", targets), ("peers", _peers(_result("peers.json")))):
        begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{section}\n{end}{after}"
    README.write_text(text)


def _result(file: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / file).read_text())
    return found


def _targets(*reports: tuple[str, str]) -> str:
    """reports: each one's folder, and the command that makes it."""
    lines = ["## What it costs and wins"]
    for folder, command in reports:
        result = _result(f"{folder}/results.json")
        on, account = result["on"], result["tasks"][TASK]
        note = (
            f"{account['queries']:,} held-out pairs of a docstring and its function from Python's standard library, on "
            "the stand-in checkpoint (135M parameters): what quantisation costs there, which is not what it costs "
            f"C2LLM. Measured {on['date']} on {on['cores']} cores of an {on['cpu']} ({', '.join(on['flags'])}) by "
            f"`make {command}`; the whole report, with pictures, is in "
            f"[benchmarks/results/{folder}](benchmarks/results/{folder}/report.md)."
        )
        lines += ["", HEADER, *map(_row, result["rows"]), "", note]
    return "\n".join(lines)


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


def _peers(result: dict[str, Any]) -> str:
    on = result["on"]
    note = (
        f"Medians of {result['rounds']} rounds, each the same functions and queries through every way in turn, each "
        "way at its best batch size; lowest and highest in brackets; those with a colon are this package's. Functions "
        "and docstrings of Python's standard library, C2LLM-0.5B's shape with random weights: speed alone. "
        f"Measured {on['date']} on {on['cores']} cores of an {on['cpu']} ({', '.join(on['flags'])}), of whose time its "
        f"host took {result['stolen']:.0%}, by `make -f benchmarks/lab/Makefile peers` "
        "([picture](benchmarks/results/peers.png)); ARCHITECTURE.md has the ratios, and those of a CPU with AMX."
    )
    head = ["**Beside the other ways to run it on a CPU**", "", PEERS]
    return "\n".join([*head, *(_way(*way) for way in result["ways"].items()), "", note])


def _way(name: str, found: dict[str, Any]) -> str:
    def told(part: str) -> str:
        return "{median:.2f} ({lowest:.2f} to {highest:.2f})".format(**found[part])

    one = found["one_query_milliseconds"]["median"]
    return f"| {name} | {told('documents_per_second')} | {told('queries_per_second')} | {one:.0f} |"


if __name__ == "__main__":
    main()
