"""`c2llm-lite bench`: measures targets' accuracy, speed and size; benchmarks/bench does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import CALIBRATE, fail, out, settings


def bench(
    source: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint's folder, or OWNER/NAME on a model hub.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="REPORT", help="The folder to write.")],
    targets: Annotated[
        str,
        typer.Option(
            metavar="A,B,…",
            help="The targets to measure; see convert --list-targets. TARGET@N keeps the first N layers; it needs "
            "--calibrate.",
        ),
    ] = "",
    own: Annotated[
        list[Path] | None,
        typer.Option("--bundle", metavar="BUNDLE", help="Also measure an existing bundle; repeatable."),
    ] = None,
    imports: Annotated[
        list[Path] | None,
        typer.Option("--import", metavar="REPORT", help="Add the rows of a report from another machine; repeatable."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="stdlib, a folder in BEIR's format, repo:FOLDER (your own code), or mteb:NAME; repeatable. "
            "[dim]\\[default: stdlib][/]"
        ),
    ] = None,
    reference: Annotated[str, typer.Option(help="Where full precision runs: cpu or cuda.")] = "cpu",
    limit: Annotated[
        int | None, typer.Option(min=2, help="Use only the first queries of each task. [dim]\\[default: all][/]")
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar=CALIBRATE, help="Also measure each quantized target calibrated on these texts; see convert."
        ),
    ] = None,
    timings: Annotated[
        bool, typer.Option(help="Measure speed and memory too; other work on the machine spoils them.")
    ] = True,
    max_loss: Annotated[
        float | None, typer.Option(help="Exit with 1 if a target loses more points of NDCG@10 than this.")
    ] = None,
) -> None:
    """Measure each target's accuracy against full precision, its speed and its size, and write a report.

    An interrupted run resumes when you repeat the command. The exit code is 1 if a target failed.

    Example: c2llm-lite bench codefuse-ai/C2LLM-0.5B --targets gguf:q8_0,openvino:int8 -o report
    """
    from ..benchmarks.bench.run import bench as run
    from ..convert.calibrate.given import given

    wanted = [target.strip() for target in targets.split(",") if target.strip()]
    if not wanted and not own and not imports:
        raise typer.BadParameter(
            "nothing to measure; pass --targets gguf:q8_0,openvino:int8, --bundle BUNDLE or --import REPORT"
        )
    result = run(
        source,
        wanted,
        output,
        own_bundles=own or (),
        imports=imports or (),
        data=data or ("stdlib",),
        reference=reference,
        limit=limit,
        calibrate=None if calibrate is None else given(calibrate),
        timings=timings,
        progress=settings.progress,
    )
    for sentence in result["recommendation"]:
        out.print(sentence.replace("**", ""))
    out.print(f"{output / 'report.md'}: the full report")
    for target, reason in result["failed"].items():
        fail(f"{target}: {reason}")
    lost = {
        f"{row['target']} on {name}": found["lost"]["ndcg@10"][0]
        for row in result["rows"][1:]
        for name, found in row["tasks"].items()
    }
    over = {name: points for name, points in lost.items() if max_loss is not None and points > max_loss}
    for name, points in over.items():
        fail(f"{name} loses {points:.2f} points, more than --max-loss {max_loss}")
    if over or result["failed"]:
        raise typer.Exit(1)
