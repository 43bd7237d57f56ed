"""`c2llm-lite bench`: what targets lose, how fast they are, how large; the work is benchmarks/bench.py's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import fail, out, settings


def bench(
    source: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint's folder, or a hub's OWNER/NAME.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="REPORT", help="The folder to write.")],
    targets: Annotated[str, typer.Option(metavar="A,B,…", help="What to measure; see convert --list-targets.")] = "",
    own: Annotated[
        list[Path] | None, typer.Option("--bundle", metavar="BUNDLE", help="Also a bundle that is there; repeatable.")
    ] = None,
    imports: Annotated[
        list[Path] | None,
        typer.Option("--import", metavar="REPORT", help="Also the rows of a report from another machine; repeatable."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="stdlib, a folder in BEIR's form, or mteb:NAME; repeatable; default: stdlib."),
    ] = None,
    reference: Annotated[str, typer.Option(help="Where full precision runs: cpu or cuda.")] = "cpu",
    limit: Annotated[int | None, typer.Option(min=2, help="Only the first queries of each task.")] = None,
    max_loss: Annotated[
        float | None, typer.Option(help="Exit 1 where a target loses more points of NDCG@10 than this.")
    ] = None,
) -> None:
    """Measure what each target loses against full precision, how fast it is and how large; write a report.

    A run that is stopped goes on where it was, by the same command. Exits 1 where a target failed.

    Example: c2llm-lite bench codefuse-ai/C2LLM-0.5B --targets gguf:q8_0,openvino:int8 -o report
    """
    from ..benchmarks.bench.run import bench as run

    wanted = [target.strip() for target in targets.split(",") if target.strip()]
    if not wanted and not own and not imports:
        raise typer.BadParameter(
            "say what to measure: --targets gguf:q8_0,openvino:int8, --bundle BUNDLE or --import REPORT"
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
        progress=settings.progress,
    )
    for sentence in result["recommendation"]:
        out.print(sentence.replace("**", ""))
    out.print(f"{output / 'report.md'}: the whole of it")
    for target, reason in result["failed"].items():
        fail(f"{target}: {reason}")
    lost = {
        f"{row['target']} on {name}": found["lost"]["ndcg@10"][0]
        for row in result["rows"][1:]
        for name, found in row["tasks"].items()
    }
    over = {name: points for name, points in lost.items() if max_loss is not None and points > max_loss}
    for name, points in over.items():
        fail(f"{name} loses {points:.2f} points, over --max-loss {max_loss}")
    if over or result["failed"]:
        raise typer.Exit(1)
