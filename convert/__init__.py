"""Converts a C2LLM checkpoint to a bundle. The heavy libraries are used here; running a bundle does not need them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from c2llm_lite import bundle as bundles
from c2llm_lite.arguments import as_path
from c2llm_lite.durable import make_way, staged
from c2llm_lite.pma import Array
from c2llm_lite.text import TextTokenizer, prompts

from .calibrate import texts as calibration_texts
from .calibrate.layers import Calibration
from .calibrate.resume import Unfinished
from .checkpoint import Checkpoint, open_checkpoint
from .checkpoint.safetensors_file import reading
from .head import fit_head, fitting_texts, write_head
from .proof import number_types, probes
from .proof.child import CannotRunHereError
from .targets.auto import LAYERS as TRIAL_LAYERS
from .targets.auto import choose
from .targets.backbone import check_texts, write_backbone
from .targets.registry import Available, Target, available, parse
from .targets.runs_here import check_runs_here
from .targets.token_embeddings import write_token_embeddings

log = logging.getLogger(__name__)

AUTO = "auto"
UNCHECKED = (
    "the bundle was written but not run: %s. It has no record of this target's probe vectors; run `c2llm-lite verify` "
    "on a machine that can run it, and check its cosines to full precision"
)
WRITERS = (
    "c2llm-lite",
    "numpy",
    "gguf",
    "llama-cpp-python",
    "openvino",
    "nncf",
    "optimum-intel",
    "torch",
    "bitsandbytes",
)


def convert(
    source: str | Path,
    output: str | Path,
    target: str,
    *,
    force: bool = False,
    target_probes: bool = True,
    check_with_checkpoint_code: bool = False,
    calibrate: calibration_texts.Texts | None = None,
    layers: int | None = None,
    rounded: str | Path | None = None,
    progress: bool = False,
) -> bundles.Bundle:
    """Convert a C2LLM checkpoint to a bundle. The bundle appears complete or not at all.

    A bundle that this machine cannot run (no engine, device or memory for it) is kept, with a warning. A calibration
    runs the bundle, so there it is an error, raised before the long work.

    Args:
        source: The checkpoint's folder, or OWNER/NAME on a model hub.
        output: The folder to write.
        target: Such as "gguf:q8_0"; "auto" chooses the fastest that is installed, by a short trial on this CPU, and
            records the trial's figures in the notes.
        force: Replace a bundle at `output`.
        target_probes: Run the bundle once, in a child process, and record its probe vectors.
        check_with_checkpoint_code: Run the checkpoint's own Python, which is foreign code, to find and record the
            head's variant that reproduces it.
        calibrate: Texts that resemble your data, by the name of their prompt; calibrate/texts.py has default ones.
            Targets that can choose their rounding on them, and the head of any quantized target corrects for the
            rest. The notes record their number and hash, and whether they are the default ones. An interrupted
            calibration resumes when it is repeated: finished layers are in a hidden folder beside `output` until the
            bundle is complete.
        layers: Keep only so many of the first layers of the backbone, and refit the head on the calibration texts and
            variants of them, to the embeddings of the whole model. The vectors are not comparable with another
            depth's. None for all.
        rounded: A folder in which finished layers stay, for other depths of the same checkpoint, target and texts.
        progress: Show on standard error how far smoothing and calibration are.

    Returns:
        The new bundle.

    Raises:
        CheckpointError: The source is not a supported checkpoint, or cannot have this target.
        ArgumentError: There is no such target or number of layers, calibration texts were passed for a target that
            quantizes nothing at full depth, or are missing for fewer layers, or too few.
        MissingDependencyError: A library for this target is not installed; names the extra.
        OutputError: The output exists, or the disk is full.
        BundleError: The new bundle crashes, or returns NaN.
        OutOfMemoryError: The calibration does not fit in the free memory.
        DeviceError: The calibration's device is missing.
    """
    output, replaces = as_path(output, "output"), bundles.MANIFEST if force else None
    make_way(output, replaces=replaces)  # before the long work
    checkpoint = open_checkpoint(source)
    notes: dict[str, Any] = {}
    cut = layers is not None and layers != checkpoint.backbone.layers
    check_texts(None if target == AUTO else parse(target), calibrate is not None, cut=cut)
    ids = None if calibrate is None else calibration_ids(checkpoint, calibrate)
    if ids is not None:
        calibration_texts.check_enough(ids)
    if target == AUTO:
        target, rates = choose(checkpoint, calibrated=ids is not None)
        notes["trial"] = {"tokens_per_second": rates, "layers": TRIAL_LAYERS}
    wanted = parse(target)
    if check_with_checkpoint_code:
        from .proof.head_variant import find_variant

        checkpoint.variant = find_variant(checkpoint)
    kept = checkpoint if layers is None else checkpoint.first_layers(layers)
    calibration = fitting = unfinished = None
    if calibrate is not None and ids is not None:
        check_runs_here(wanted, wanted.converter.memory(kept, wanted.kind))
        notes["calibration"] = calibration_note(calibrate, ids)
        key = _rounding_key(checkpoint, wanted, kept.backbone.layers, notes["calibration"])
        beside = output.parent / f".{output.name}.unfinished-{key}"
        unfinished = Unfinished(beside if rounded is None else as_path(rounded, "rounded") / key)
        deciding = calibration_texts.evenly(ids, calibration_texts.ROUNDING_TOKENS)
        calibration = fitting = Calibration(deciding, progress, unfinished)
        if cut:
            states = unfinished.folder if rounded is None else Path(rounded)
            fitting = fitting_texts(checkpoint, calibrate, states, progress=progress)
    stopped = unfinished.named_if_stopped() if unfinished is not None else contextlib.nullcontext()
    with stopped, staged(output, replaces=replaces) as folder:
        rounding = calibration if wanted.quantized else None
        tensors = write_backbone(wanted, kept, folder, rounding, progress=progress)
        tensors |= write_token_embeddings(checkpoint, folder / bundles.TOKEN_EMBEDDINGS)
        write_head(folder, checkpoint.head())
        _copy_files(checkpoint, folder)
        unproved, full, largest = probes.reference_probes(checkpoint)
        notes["largest"] = {name: float(f"{value:.4g}") for name, value in vars(largest).items()}
        probes.write(folder, full, None)
        manifest = bundles.seal(folder, _manifest(kept, wanted, tensors, unproved, notes)).manifest
        if fitting is not None and not fit_head(checkpoint, folder, fitting, manifest):
            unfinished = None  # keep the rounded layers, to resume from
        if target_probes:
            _record_probes(folder, full)
    if unfinished is not None and rounded is None:
        unfinished.remove()
    made = bundles.open_bundle(output)
    near = () if cut else made.manifest.probes  # a shallower bundle's vectors are not near the full model's
    for sentence in number_types.warnings(wanted.family, wanted.kind, wanted.bits, largest, near):
        log.warning("%s: %s", output, sentence)
    return made


def _rounding_key(checkpoint: Checkpoint, target: Target, layers: int, texts: dict[str, Any]) -> str:
    """The name of what is kept of a rounding: by all that decides how a layer is rounded. texts: their note."""
    decides: list[Any] = [checkpoint.sha256, str(target), texts, calibration_texts.ROUNDING_TOKENS, versions()]
    decides += [layers] if target.last_layer_differs else []
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]


def _copy_files(checkpoint: Checkpoint, folder: Path) -> None:
    """Copy the tokenizer and the licenses unchanged."""
    copies = {checkpoint.tokenizer_file: bundles.TOKENIZER} | {path: path.name for path in checkpoint.license_files}
    for path, name in copies.items():
        with reading(path):
            content = path.read_bytes()
        (folder / name).write_bytes(content)


def _record_probes(folder: Path, full: Array) -> None:
    """Run the new bundle's probes and seal their vectors and cosines. Warn if this machine cannot run it."""
    try:
        ours = probes.target_vectors(folder)
    except CannotRunHereError as error:
        log.warning(UNCHECKED, error)
        return
    manifest = bundles.open_bundle(folder).manifest
    probes.write(folder, full, ours)
    cosines = np.sum(ours * full, axis=1)
    found = tuple(replace(p, cosine=round(float(c), 6)) for p, c in zip(manifest.probes, cosines, strict=True))
    bundles.seal(folder, replace(manifest, probes=found), changed=[bundles.PROBES])


def calibration_ids(checkpoint: Checkpoint, calibrate: calibration_texts.Texts) -> list[list[int]]:
    """The texts' token ids, sorted, so that the same texts give the same bundle, byte for byte."""
    tokenizer = TextTokenizer(checkpoint.tokenizer_file, checkpoint.max_tokens)
    return sorted(calibration_texts.token_ids(tokenizer, calibrate))


def calibration_note(calibrate: calibration_texts.Texts, ids: Sequence[Sequence[int]]) -> dict[str, Any]:
    """What the manifest says of the texts. sha256: of their token ids."""
    return {
        "default": calibrate == calibration_texts.default(),
        "texts": len(ids),
        "by_prompt": {name: len(texts) for name, texts in sorted(calibrate.items())},
        "sha256": hashlib.sha256(json.dumps(ids).encode()).hexdigest(),
    }


def _manifest(
    checkpoint: Checkpoint,
    target: Target,
    tensors: dict[str, str],
    unproved: tuple[bundles.Probe, ...],
    notes: dict[str, Any],
) -> bundles.Manifest:
    return bundles.Manifest(
        source=bundles.Source(checkpoint.name, checkpoint.revision, checkpoint.sha256),
        target=str(target),
        engine=target.engine,
        backbone=checkpoint.backbone,
        head=checkpoint.variant,
        width=checkpoint.shape("mha_pma.S")[-1],
        max_tokens=checkpoint.max_tokens,
        prompts=prompts(),
        tensors=tensors,
        memory=target.converter.memory(checkpoint, target.kind),
        versions=versions(),
        probes=unproved,
        notes=notes,
    )


def versions() -> dict[str, str]:
    """Of what writes a bundle, as the manifest records them."""
    found = {"python": platform.python_version()}
    for name in WRITERS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def list_targets(source: str | Path) -> list[Available]:
    """Every target that a checkpoint's shapes admit.

    Args:
        source: The checkpoint's folder, or OWNER/NAME on a model hub.

    Returns:
        Each target with its actual bits per backbone weight and the bundle's size.

    Raises:
        CheckpointError: The source is not a supported checkpoint.
    """
    return available(open_checkpoint(source))
