"""`c2llm-lite info` and `verify`: what a bundle is, and that it is what it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from .. import bundle as bundles
from .options import AsJson, BundleArgument, Device, Threads, err, fail, out, print_json, print_table, settings

DEFAULT_LEAST = 0.99  # cosine


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
        float | None, typer.Option(help="The least cosine that passes, with --against or --vectors; default: 0.99.")
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Check every file's hash, then recompute the bundle's probes; or compare its vectors with a reference.

    The last line is the verdict. Exits 1 if anything fails.
    """
    if against is None and vectors is None:
        if texts is not None or min_cosine is not None:
            raise typer.BadParameter("--texts and --min-cosine go with --against or --vectors")
        _verify_probes(bundle, device, threads, as_json)
    elif vectors is not None and (against is not None or texts is None):
        raise typer.BadParameter(
            "--vectors goes with --texts, which name the texts they were made from, and not --against"
        )
    else:
        _verify_against(
            bundle,
            against,
            vectors,
            texts,
            DEFAULT_LEAST if min_cosine is None else min_cosine,
            device,
            threads,
            as_json,
        )


def _verify_probes(bundle: Path, device: str, threads: int | None, as_json: bool) -> None:
    from ..verify import verify as run_probes

    unlisted = _note_unlisted(bundle)
    results = run_probes(bundle, device=device, threads=threads)
    files = len(bundles.open_bundle(bundle).manifest.files)
    passed = all(result.passed for result in results)
    if as_json:
        probes = [vars(result) | {"passed": result.passed} for result in results]
        print_json({"passed": passed, "files": files, "unlisted": unlisted, "probes": probes})
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
    limits = sum((result.own is not None) + (result.full_least is not None) for result in results)
    beyond = sum(not result.passed for result in results)
    if not passed:
        fail(
            f"{files} files hashed, {beyond} of {len(results)} probes beyond their limits: this machine's build of the "
            "engine computes something else; reinstall it, or convert the checkpoint again here"
        )
        raise typer.Exit(1)
    if not as_json:
        within = "within limits" if limits else "computed; the bundle records no limits for them"
        out.print(f"ok: {files} files hashed, {len(results)} probes {within}")


def _note_unlisted(bundle: Path) -> list[str]:
    """Name the files that the manifest does not, on standard error."""
    unlisted = bundles.open_bundle(bundle).unlisted()
    if unlisted:
        err.print(f"not in the manifest, and not checked: {', '.join(map(repr, unlisted))}")
    return unlisted


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

    _note_unlisted(bundle)
    chosen = verifying.read_texts(texts) if texts is not None else None
    with load(bundle, device=device, threads=threads, check=True, cache=False) as model:
        if vectors is not None and chosen is not None:
            reference = verifying.read_reference(vectors, chosen)
        else:
            from ..convert.proof.against import default_texts, reference_vectors

            chosen = chosen or default_texts()
            with err.status(Text(f"computing {len(chosen)} texts in full precision")):
                reference = reference_vectors(str(against), model.bundle, chosen)
        files = len(model.bundle.manifest.files)
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
        fail(f"the worst is under --min-cosine {min_cosine}")
        raise typer.Exit(1)
    if not as_json:
        out.print(f"ok: {files} files hashed, {len(chosen)} texts at or over --min-cosine {min_cosine}")
