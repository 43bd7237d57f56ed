"""`c2llm-lite info` and `verify`: describe a bundle, and check that it is intact and runs correctly here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from .options import (
    AsJson,
    BundleArgument,
    Device,
    PublicKeys,
    Revoked,
    Signature,
    Threads,
    err,
    fail,
    out,
    print_json,
    print_table,
    settings,
    signature,
)

if TYPE_CHECKING:
    from ..bundle import Manifest

DEFAULT_LEAST = 0.99  # cosine


class Loading(Signature):
    """Arguments of load() that `verify` takes."""

    device: str
    threads: int | None


def info(bundle: BundleArgument, as_json: AsJson = False) -> None:
    """Describe a bundle: source, target, dimensions, prompts and versions. Its engine need not be installed.

    Example: c2llm-lite info c2llm-int8
    """
    from ..bundle import open_bundle

    opened = open_bundle(bundle)
    manifest, backbone = opened.manifest, opened.manifest.backbone
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
        "vectors": f"{manifest.width} components, from {_layers(manifest)} of width {backbone.hidden}",
        "head": f"{manifest.head.heads} heads, residual {manifest.head.residual}, scale {manifest.head.scale}, fp32",
        "longest text": f"{manifest.max_tokens} tokens, prompt included",
        "memory": f"about {manifest.memory / 1e6:,.0f} MB, plus memory for each batch",
        **_largest(manifest.notes.get("largest")),
        "prompts": ", ".join(sorted(manifest.prompts)),
        "written by": ", ".join(f"{name} {version}" for name, version in sorted(manifest.versions.items())),
    }
    table = Table(show_header=False, box=None)
    for name, value in rows.items():
        table.add_row(Text(name, "bold"), value)
    print_table(table)


def _layers(manifest: Manifest) -> str:
    """How many layers the bundle has, and of how many where it has only the first ones."""
    depth = manifest.notes.get("depth")
    of = f" of {depth.get('of')}" if isinstance(depth, dict) else ""
    return f"{manifest.backbone.layers}{of} layers"


def _largest(found: Any) -> dict[str, str]:
    """What the converter noted of the checkpoint's activations on the probes; nothing in an older bundle."""
    if not isinstance(found, dict):
        return {}
    numbers = {str(name).replace("_", " "): value for name, value in found.items() if isinstance(value, int | float)}
    return {"largest": "on the probes: " + ", ".join(f"{name} {value:,.0f}" for name, value in numbers.items())}


def verify(
    bundle: BundleArgument,
    against: Annotated[
        str | None, typer.Option(metavar="CHECKPOINT", help="Compare each text's vector with the fp32 checkpoint's.")
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(metavar="REF.npy", help="Compare with vectors computed elsewhere, one per text.")
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(metavar="T.jsonl", help="The texts to compare: JSON lines with the field `text`.")
    ] = None,
    min_cosine: Annotated[
        float | None, typer.Option(help="The lowest cosine that passes. [dim]\\[default: 0.99][/]")
    ] = None,
    public_key: PublicKeys = None,
    revoked: Revoked = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Check every file's hash, then recompute the bundle's probe vectors or compare vectors with a reference.

    The last line is the verdict. The exit code is 1 if anything fails.

    Example: c2llm-lite verify c2llm-int8
    """
    loading = Loading(device=device, threads=threads, **signature(public_key, revoked))
    if against is None and vectors is None:
        if texts is not None or min_cosine is not None:
            raise typer.BadParameter("--texts and --min-cosine need --against or --vectors")
        _verify_probes(bundle, loading, as_json)
    elif vectors is not None and (against is not None or texts is None):
        raise typer.BadParameter(
            "--vectors needs --texts, the texts that the vectors were computed from, and excludes --against"
        )
    else:
        _verify_against(
            bundle,
            against,
            vectors,
            texts,
            DEFAULT_LEAST if min_cosine is None else min_cosine,
            loading,
            as_json,
        )


def _verify_probes(bundle: Path, loading: Loading, as_json: bool) -> None:
    from ..bundle import open_bundle
    from ..verify import verify as run_probes

    unlisted = _note_unlisted(bundle)
    results = run_probes(bundle, **loading)
    files = len(open_bundle(bundle).manifest.files)
    passed = all(result.passed for result in results)
    if as_json:
        probes = [vars(result) | {"passed": result.passed} for result in results]
        print_json({"passed": passed, "files": files, "unlisted": unlisted, "probes": probes})
    else:
        table = Table("probe", "cosine to record", "cosine to fp32", "")
        for result in results:
            text = result.text.replace("\n", " ")
            table.add_row(
                f"{text[:48]}…" if len(text) > 48 else text,
                "no record" if result.own is None else f"{result.own:.5f} (min {result.own_least})",
                f"{result.full:.5f}" + ("" if result.full_least is None else f" (min {result.full_least:.5f})"),
                Text("ok", "green") if result.passed else Text("failed", "red"),
            )
        print_table(table)
    limits = sum((result.own is not None) + (result.full_least is not None) for result in results)
    beyond = sum(not result.passed for result in results)
    if not passed:
        fail(
            f"{files} files hashed, {beyond} of {len(results)} probes outside their limits: the engine computes "
            "different vectors on this machine; reinstall the engine, or convert the checkpoint again here"
        )
        raise typer.Exit(1)
    if not as_json:
        within = "within limits" if limits else "computed; the bundle has no limits for them"
        out.print(f"ok: {_signed(loading)}{files} files hashed, {len(results)} probes {within}")


def _signed(loading: Loading) -> str:
    return "signature verified, " if loading["public_key"] else ""


def _note_unlisted(bundle: Path) -> list[str]:
    """Print on standard error the files that the manifest does not list."""
    from ..bundle import open_bundle

    unlisted = open_bundle(bundle).unlisted()
    if unlisted:
        err.print(f"not in the manifest, not checked: {', '.join(map(repr, unlisted))}")
    return unlisted


def _verify_against(
    bundle: Path,
    against: str | None,
    vectors: Path | None,
    texts: Path | None,
    min_cosine: float,
    loading: Loading,
    as_json: bool,
) -> None:
    from .. import verify as verifying
    from ..embedder import load

    _note_unlisted(bundle)
    chosen = verifying.read_texts(texts) if texts is not None else None
    with load(bundle, check=True, cache=False, **loading) as model:
        if vectors is not None and chosen is not None:
            reference = verifying.read_reference(vectors, chosen)
        else:
            from ..convert.proof.against import default_texts, reference_vectors

            chosen = chosen or default_texts()
            with err.status(Text(f"embedding {len(chosen)} texts in full precision")):
                reference = reference_vectors(str(against), model.bundle, chosen)
        files = len(model.bundle.manifest.files)
        manifest = model.bundle.manifest
        found = verifying.fidelity(model.embed(chosen, progress=settings.progress), reference)
    passed = found.worst >= min_cosine
    figures: dict[str, Any] = {
        "texts": len(chosen),
        "mean": found.mean,
        "percentile_1": found.percentile_1,
        "worst": found.worst,
    }
    of_first_layers = against is not None and "depth" in manifest.notes
    if of_first_layers:
        figures["reference_layers"] = manifest.backbone.layers
    if as_json:
        print_json(figures | {"worst_text": found.worst_text, "passed": passed})
    else:
        if of_first_layers:
            out.print(
                f"the reference is the checkpoint's first {_layers(manifest)} in fp32 with the bundle's own head: with "
                "fewer layers, vectors do not compare with the whole model's"
            )
        out.print(
            f"cosine to the reference over {len(chosen)} texts: mean {found.mean:.5f}, 1st percentile "
            f"{found.percentile_1:.5f}, lowest {found.worst:.5f} (text {found.worst_text})"
        )
    if not passed:
        fail(f"the lowest cosine is below --min-cosine {min_cosine}")
        raise typer.Exit(1)
    if not as_json:
        out.print(
            f"ok: {_signed(loading)}{files} files hashed, {len(chosen)} texts at or above --min-cosine {min_cosine}"
        )
