"""report.md, results.json and the pictures of one run of `bench`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from c2llm_lite.durable import durable

from . import plots
from .hardware import cores
from .results_file import write_results
from .verdict import timed

MEASURES = {
    "ndcg@10": "NDCG@10",
    "mrr@10": "MRR@10",
    "recall@1": "Recall@1",
    "recall@10": "Recall@10",
    "recall@100": "Recall@100",
}


def write(result: dict[str, Any], output: Path) -> None:
    """Write the report into the folder `output`; each file is complete or absent."""
    write_results(output / "results.json", result)
    pictures = plots.draw(result, output)
    with durable(output / "report.md") as file:
        file.write(markdown(result, pictures).encode())


def markdown(result: dict[str, Any], pictures: Sequence[tuple[str, str]]) -> str:
    """The report. pictures: (file's name, what it shows)."""
    checkpoint, on = result["checkpoint"], result["on"]
    reference, *others = result["rows"]
    versions = ", ".join(f"{name} {version}" for name, version in on["versions"].items())
    text = [
        f"# Accuracy{', size and speed' if timed(result) else ' and size'} of {checkpoint['name']}'s targets",
        f"Each target against {reference['target']}, full precision, on the same texts. Measured {on['date']} on "
        f"{cores(on)} of {on['cpu']} ({', '.join(on['flags'])}), {on['system']}, Python {on['python']}; "
        f"{versions}. Checkpoint sha256 {checkpoint['sha256'][:16]}. A row that names a machine was measured on it.",
    ]
    for name, account in result["tasks"].items():
        text += [
            f"## Accuracy on {name}",
            f"{account['queries']:,} queries, {account['documents']:,} documents; sha256 {account['sha256'][:16]}. "
            "Scores are of 100. *Lost*: points of NDCG@10 against full precision, with the paired bootstrap's 95% "
            "interval; less than nothing is a gain, and an interval around 0 is chance.",
            _table(
                ("target", *MEASURES.values(), "lost"),
                ((row["target"], *_scores(row, name), _lost(row, name)) for row in result["rows"]),
            ),
            "How near the vectors themselves are: the cosine of each text's vector to its full-precision one, how "
            "many of the ten best documents stay the same, and Spearman's correlation of all documents' ranks.",
            _table(
                ("target", "cosine: mean", "1st percentile", "worst", "top 10 kept", "rank correlation"),
                ((row["target"], *_fidelity(row, name)) for row in others),
            ),
            "The price of fewer components (`dim=`) and of smaller forms (`precision=`): NDCG@10.",
            _forms(result["rows"], name),
        ]
    if any("pooled" in row for row in others):
        text += [
            "## Over all tasks",
            "Points of NDCG@10 lost, each query of every task counting once, and the task that lost most.",
            _table(("target", "lost", "worst task", "lost there"), (_pooled(row) for row in others if "pooled" in row)),
        ]
    text += _speeds(result) if timed(result) else _sizes(result)
    text += [f"![{told}]({file})" for file, told in pictures]
    if result["front"]:
        text.append(f"No target beats these in both accuracy and speed, slowest first: {', '.join(result['front'])}.")
    text += [
        "## Not measured",
        _list(result["not_measured"]),
        "## Recommendation",
        _list(result["recommendation"]),
    ]
    return "\n\n".join(text) + "\n"


def _speeds(result: dict[str, Any]) -> list[str]:
    return [
        "## Speed and size",
        "A target at a time, alone. *A query*: one at a time, with its instruction, in milliseconds. *Tokens a "
        "second*: texts of that many tokens. *Start*: from the process's start to its first vector. *Memory*: the most "
        "that the process held, mapped files among it; on a GPU, the GPU's.",
        _table(
            ("target", "a query: p50, p95, p99", *_lengths(result), "start, s", "memory, MB", "bundle, MB"),
            ((row["target"], *_speed(row, _lengths(result))) for row in result["rows"]),
        ),
    ]


def _sizes(result: dict[str, Any]) -> list[str]:
    sizes = ((row["target"], f"{row['bytes'] / 1e6:,.0f}") for row in result["rows"])
    return ["## Size", _table(("target", "bundle, MB"), sizes)]


def _scores(row: dict[str, Any], task: str) -> list[str]:
    return [f"{row['tasks'][task]['scores'][measure]:.1f}" for measure in MEASURES]


def _lost(row: dict[str, Any], task: str) -> str:
    if "lost" not in row["tasks"][task]:
        return ""
    return interval(row["tasks"][task]["lost"]["ndcg@10"])


def _pooled(row: dict[str, Any]) -> list[str]:
    worst = max(row["tasks"], key=lambda task: row["tasks"][task]["lost"]["ndcg@10"][0])
    return [row["target"], interval(row["pooled"]["ndcg@10"]), worst, _lost(row, worst)]


def interval(lost: Sequence[float]) -> str:
    """What was lost, and its interval, in words."""
    return "{:.2f} ({:.2f} to {:.2f})".format(*lost)


def _fidelity(row: dict[str, Any], task: str) -> list[str]:
    found = row["tasks"][task]["fidelity"]
    cosines = [f"{found[f'cosine_{part}']:.4f}" for part in ("mean", "percentile_1", "worst")]
    return [*cosines, f"{100 * found['top_10_kept']:.0f}%", f"{found['rank_correlation']:.4f}"]


def _forms(rows: Sequence[dict[str, Any]], task: str) -> str:
    found = rows[0]["tasks"][task]["forms"]
    whole, *narrower = found
    columns = [(whole, form) for form in found[whole]] + [(width, "float32") for width in narrower]
    head = ("target", *(f"{width} {form}" for width, form in columns))
    return _table(
        head,
        ((r["target"], *(f"{r['tasks'][task]['forms'][width][form]:.1f}" for width, form in columns)) for r in rows),
    )


def _lengths(result: dict[str, Any]) -> list[str]:
    found = {int(length) for row in result["rows"] for length in row["latency"]["by_length"]}
    return [f"tokens a second, {length}" for length in sorted(found)]


def _speed(row: dict[str, Any], columns: Sequence[str]) -> list[str]:
    latency = row["latency"]
    query = latency["query_milliseconds"]
    rates = {f"tokens a second, {length}": found for length, found in latency["by_length"].items()}
    memory = latency["peak_memory"] if latency["peak_vram"] is None else latency["peak_vram"]
    return [
        ", ".join(f"{query[part]:.0f}" for part in ("p50", "p95", "p99")),
        *(f"{rates[name]['tokens_per_second']:,.0f}" if name in rates else "" for name in columns),
        f"{latency['cold_start_seconds']:.1f}",
        f"{memory / 1e6:,.0f}",
        f"{row['bytes'] / 1e6:,.0f}",
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
