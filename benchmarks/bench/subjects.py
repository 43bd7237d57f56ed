"""What a benchmark measures: targets, made here plain or calibrated and at any depth, and bundles made elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from c2llm_lite import bundle as bundles
from c2llm_lite.convert import calibration_ids, calibration_note, convert, versions
from c2llm_lite.convert.calibrate.texts import Texts
from c2llm_lite.convert.checkpoint import Checkpoint
from c2llm_lite.convert.targets.backbone import check_texts
from c2llm_lite.convert.targets.registry import parse
from c2llm_lite.errors import ArgumentError, BundleError, DeviceError

FULL_PRECISION = "torch:fp32"
ON_GPU = (FULL_PRECISION, "torch:bf16")  # what a GPU's reference consists of
DEPTH = "@"  # openvino:int8@20 is that target with the first 20 layers


@dataclass
class Subject:
    """One bundle to measure, on one device; `failed` says why it could not be.

    layers: how many of the first are kept; None for all. calibrate: the texts that it is calibrated on where it is made
    here, and what its manifest says of them. shared: whether other depths of the target are measured too.
    """

    target: str
    device: str
    bundle: bundles.Bundle | None = None
    failed: str | None = None
    layers: int | None = None
    calibrate: Texts | None = None
    note: dict[str, Any] | None = None
    shared: bool = False

    @property
    def label(self) -> str:
        """Its name in the report."""
        name = self.target if self.layers is None else f"{self.target}{DEPTH}{self.layers}"
        name = name if self.calibrate is None else f"{name}, calibrated"
        return f"{name} on cuda" if self.device == "cuda" else name

    @property
    def ready(self) -> bundles.Bundle:
        """The bundle, once it was converted."""
        if self.bundle is None:
            raise BundleError(f"{self.target} was not converted")
        return self.bundle


def subjects(
    targets: Sequence[str],
    own: Sequence[Path],
    reference: str,
    checkpoint: Checkpoint,
    calibrate: Texts | None,
) -> list[Subject]:
    """The reference first.

    Raises BundleError for a bundle made elsewhere from another checkpoint, and ArgumentError for a depth that the
    checkpoint does not have, or fewer layers without calibration texts.
    """
    if reference not in ("cpu", "cuda"):
        raise ArgumentError(f"the reference runs on cpu or cuda, not on {reference!r}")
    if reference == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise DeviceError("torch finds no CUDA device; pass --reference cpu, or run on a machine with a GPU")
    first = ON_GPU if reference == "cuda" else (FULL_PRECISION,)
    found = [Subject(target, reference) for target in first]
    asked = list(dict.fromkeys(map(parted, targets)))
    for _, layers in asked:  # before any text is embedded
        if layers is not None:
            cut = checkpoint.first_layers(layers).backbone.layers < checkpoint.backbone.layers
            check_texts(None, calibrate is not None, cut=cut)
    for target, layers in asked:
        if calibrate is not None and (layers is not None or _needs_texts(target)):
            continue
        if reference == "cuda" or layers is not None or target not in first:
            found.append(Subject(target, "auto", layers=layers))
    for folder in own:
        opened = bundles.open_bundle(folder)
        if opened.manifest.source.sha256 != checkpoint.sha256:
            raise BundleError(f"{folder} was not made from {checkpoint.name}; convert it again")
        found.append(Subject(f"{opened.manifest.target} ({folder.name})", "auto", opened))
    if calibrate is not None:
        note = calibration_note(calibrate, calibration_ids(checkpoint, calibrate))
        several = {target for target, layers in asked if layers is not None}
        found += [
            Subject(target, "auto", layers=layers, calibrate=calibrate, note=note, shared=target in several)
            for target, layers in asked
            if layers is not None or _is_quantized(target)
        ]
    return found


def parted(asked: str) -> tuple[str, int | None]:
    """The target, and how many layers are kept; None for all."""
    target, mark, layers = asked.partition(DEPTH)
    if mark and not layers.isdecimal():
        raise ArgumentError(f"{asked!r}: write TARGET{DEPTH}LAYERS, such as openvino:int8{DEPTH}20")
    return target, int(layers) if mark else None


def make(source: str, sha256: str, subject: Subject, work: Path) -> None:
    """Convert for a subject that has no bundle, unless an earlier run did. Rounded layers serve every depth."""
    if subject.bundle is not None:
        return
    name = subject.target.replace(":", "-")
    name += "" if subject.layers is None else f"-{subject.layers}-layers"
    name += "" if subject.note is None else f"-{subject.note['sha256'][:16]}"
    folder = work / "bundles" / name
    if folder.exists():
        kept = bundles.open_bundle(folder)
        if _would_be_the_same(kept.manifest, subject, sha256):
            subject.bundle = kept
            return
    folder.parent.mkdir(exist_ok=True)
    subject.bundle = convert(
        source,
        folder,
        subject.target,
        target_probes=False,
        force=True,
        calibrate=subject.calibrate,
        layers=subject.layers,
        rounded=work / "rounded" if subject.shared else None,
    )


def _would_be_the_same(kept: bundles.Manifest, subject: Subject, sha256: str) -> bool:
    """Whether converting again, from the checkpoint of this hash, would give the bundle that was kept."""
    made_from = kept.target, kept.source.sha256, kept.versions, kept.notes.get("calibration")
    as_deep = subject.layers in (None, kept.backbone.layers)
    return as_deep and made_from == (subject.target, sha256, versions(), subject.note)


def _is_quantized(target: str) -> bool:
    """Whether calibration texts serve it. One that does not exist fails where it is converted."""
    try:
        return parse(target).quantized
    except ArgumentError:
        return False


def _needs_texts(target: str) -> bool:
    try:
        return parse(target).needs_texts
    except ArgumentError:
        return False
