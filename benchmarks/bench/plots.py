"""The pictures of a benchmark's report: accuracy against speed, accuracy against size, speed by length.

Colors are Okabe and Ito's, which the color-blind tell apart; each row has its own mark, for print without color. The
depths of one target share a color.
"""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import Any

from c2llm_lite.durable import durable
from c2llm_lite.errors import MissingDependencyError

from .verdict import DOCUMENT, MEASURE, rate, timed

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKS = "osD^vP*X<>"
FULL_PRECISION_COLOR = "0.35"
INCHES = (8.0, 4.8)
DPI = 150
TICKS = [digit * 10.0**power for power in range(-2, 5) for digit in (1, 2, 5)]  # of speed, which is drawn by ratio
# Points between a mark and its name, in turn along the front, so that names of neighbors do not meet.
ABOVE = (14, -24, 28, -40)
# Nothing of the picture depends on when it was made.
METADATA = {"Software": None}


def draw(result: dict[str, Any], folder: Path) -> list[tuple[str, str]]:
    """Write the PNGs into `folder`; returns each file's name and what it shows. Raises MissingDependencyError."""
    try:
        from matplotlib import use
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "bench", "the report's pictures") from error
    use("agg")
    drawn = []
    for name, told, draw_one in (
        ("accuracy_speed.png", "Accuracy against speed, with the targets that no other beats joined", _accuracy_speed),
        ("accuracy_size.png", "Accuracy against the bundle's size", _accuracy_size),
        ("speed_length.png", "Tokens a second by the length of the texts", _speed_length),
    ):
        if draw_one is _accuracy_size or timed(result):
            _save(draw_one(result), folder / name)
            drawn.append((name, told))
    return drawn


def peers(result: dict[str, Any], path: Path) -> None:
    """Bars of documents and queries a second, one a way to run the model, ours in color, with the rounds' spread."""
    from matplotlib import use

    use("agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, layout="constrained")
    ways = result["ways"]
    names = sorted(ways, key=lambda name: float(ways[name]["documents_per_second"]["median"]))
    for axes, (measure, told) in zip(
        figure.subplots(1, 2, sharey=True),
        (("documents_per_second", "documents a second"), ("queries_per_second", "queries a second")),
        strict=True,
    ):
        found = [ways[name][measure] for name in names]
        medians = [one["median"] for one in found]
        below, above = ([abs(one[end] - one["median"]) for one in found] for end in ("lowest", "highest"))
        colors = [COLORS[0] if ":" in name else "0.7" for name in names]
        bars = axes.barh(names, medians, xerr=[below, above], color=colors, error_kw={"elinewidth": 1, "capsize": 3})
        axes.bar_label(bars, [f" {median:.1f}" for median in medians], fontsize=9)
        axes.set_xlabel(told)
        axes.margins(x=0.15)
        axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _accuracy_speed(result: dict[str, Any]) -> Any:
    figure, axes = _axes(f"documents of {DOCUMENT} tokens a second", _accuracy_label(result))
    best = [row for row in result["rows"] if row["target"] in result["front"]]
    best.sort(key=rate)
    axes.plot([rate(row) for row in best], [_accuracy(row)[0] for row in best], color="0.75", linewidth=6, zorder=0)
    for row, style in _styled(result):
        _point(axes, rate(row), row, style)
    for curve in depths(result["rows"]):
        axes.plot(
            [rate(row) for row in curve], [_accuracy(row)[0] for row in curve], color="0.45", linewidth=1, zorder=1
        )
    axes.margins(y=0.2)  # names stay inside
    for place, row in enumerate(best):
        _name(axes, row, ABOVE[place % len(ABOVE)])
    rates = [rate(row) for row in result["rows"]]
    axes.set_xscale("log")
    axes.set_xticks([tick for tick in TICKS if min(rates) / 1.5 < tick < max(rates) * 1.5])
    _plain_ticks(axes.xaxis)
    curves = "\nthin line: one target at several depths" if depths(result["rows"]) else ""
    _legend(axes, f"gray band: targets that no other beats in both{curves}")
    return figure


def depths(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The rows of each target that there are several depths of: its full depth, and TARGET@N, the deepest first."""
    curves: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        curves.setdefault(_whole(row), []).append(row)

    def cut(row: dict[str, Any]) -> float:
        return -float(row.get("layers", math.inf))

    return [sorted(curve, key=cut) for curve in curves.values() if len(curve) > 1]


def _whole(row: dict[str, Any]) -> str:
    """The name of the row's target with all its layers."""
    return re.sub(r"@\d+", "", row["target"])


def _accuracy_size(result: dict[str, Any]) -> Any:
    figure, axes = _axes("size of the bundle, MB", _accuracy_label(result))
    for row, style in _styled(result):
        _point(axes, row["bytes"] / 1e6, row, style)
    axes.set_xlim(left=0)
    _legend(axes, None)
    return figure


def _speed_length(result: dict[str, Any]) -> Any:
    figure, axes = _axes("tokens of a text", "tokens a second")
    for row, style in _styled(result):
        lengths = row["latency"]["by_length"]
        rates = [found["tokens_per_second"] for found in lengths.values()]
        axes.plot([int(length) for length in lengths], rates, label=row["target"], linewidth=1.5, **style)
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.set_xticks([int(length) for length in result["rows"][0]["latency"]["by_length"]])
    _plain_ticks(axes.xaxis)
    _legend(axes, None)
    return figure


def _axes(x: str, y: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _styled(result: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    reference, *others = result["rows"]
    colors = dict(zip(dict.fromkeys(map(_whole, others)), itertools.cycle(COLORS), strict=False))
    return [
        (reference, {"color": FULL_PRECISION_COLOR, "marker": "h", "markersize": 10}),
        *(
            (row, {"color": colors[_whole(row)], "marker": mark, "markersize": 8})
            for row, mark in zip(others, itertools.cycle(MARKS), strict=False)
        ),
    ]


def _point(axes: Any, x: float, row: dict[str, Any], style: dict[str, Any]) -> None:
    accuracy, below, above = _accuracy(row)
    bars = {"elinewidth": 1, "capsize": 3, "linestyle": "none"}
    axes.errorbar([x], [accuracy], yerr=[[below], [above]], label=row["target"], **bars, **style)


def _name(axes: Any, row: dict[str, Any], above: int) -> None:
    """The target's name so many points above or below its mark's interval, with a thin line to it."""
    accuracy, below, reach = _accuracy(row)
    end = accuracy + reach if above > 0 else accuracy - below
    left, right = axes.get_xlim()
    inside = "right" if rate(row) ** 2 > left * right else "left"  # of the middle of an axis in logarithms
    place = {"xytext": (0, above), "textcoords": "offset points", "ha": inside, "fontsize": 8, "fontweight": "bold"}
    axes.annotate(row["target"], (rate(row), end), arrowprops={"arrowstyle": "-", "lw": 0.6, "color": "0.6"}, **place)


def _accuracy(row: dict[str, Any]) -> tuple[float, float, float]:
    """NDCG@10 of the first task, and how far the interval of what was lost reaches below and above it."""
    found = next(iter(row["tasks"].values()))
    mean, low, high = found.get("lost", {}).get(MEASURE, (0.0, 0.0, 0.0))
    return found["scores"][MEASURE], high - mean, mean - low


def _accuracy_label(result: dict[str, Any]) -> str:
    return f"NDCG@10 on {next(iter(result['tasks']))}, with the 95% interval\nof what was lost"


def _plain_ticks(axis: Any) -> None:
    from matplotlib.ticker import NullFormatter, ScalarFormatter

    axis.set_major_formatter(ScalarFormatter())
    axis.set_minor_formatter(NullFormatter())


def _legend(axes: Any, title: str | None) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9, title=title, title_fontsize=8)


def _save(figure: Any, path: Path) -> None:
    with durable(path) as file:
        figure.savefig(file, format="png", dpi=DPI, metadata=METADATA)
