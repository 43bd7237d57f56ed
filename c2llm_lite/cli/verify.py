"""`c2llm-lite info` and `verify`: what a bundle is, and that it is what it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from .. import bundle as bundles
from .options import AsJson, BundleArgument, Device, Threads, err, out, print_json, print_table, settings


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
        table.add_row(Text(name, "bold"), value)
    print_table(table)


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


def _verify_probes(bundle: Path, device: str, threads: int | None, as_json: bool) -> None:
    from ..verify import verify as run_probes

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
                Text("ok", "green") if result.passed else Text("failed", "red"),
            )
        print_table(table)
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
    from .. import verify as verifying
    from ..embedder import load

    chosen = verifying.read_texts(texts) if texts is not None else None
    with load(bundle, device=device, threads=threads, check=True, cache=False) as model:
        if vectors is not None and chosen is not None:
            reference = verifying.read_reference(vectors, chosen)
        else:
            from ..convert.proof.against import default_texts, reference_vectors

            chosen = chosen or default_texts()
            with err.status(Text(f"computing {len(chosen)} texts in full precision")):
                reference = reference_vectors(str(against), model.bundle, chosen)
        found = verifying.fidelity(model.embed(chosen, progress=settings.progress), reference)
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
