"""The head of a new bundle: as the checkpoint has it, or fitted to what the bundle's engine computes."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from c2llm_lite import bundle as bundles
from c2llm_lite.errors import DeviceError
from c2llm_lite.pma import Array

from .calibrate.layers import Calibration
from .calibrate.recovery import recover
from .calibrate.refit import refit
from .calibrate.resume import Unfinished
from .calibrate.texts import Texts
from .calibrate.variants import TOKENS, head_texts
from .checkpoint import Checkpoint
from .checkpoint.safetensors_writer import Tensor, write_safetensors
from .proof.child import CannotRunHereError

log = logging.getLogger(__name__)

UNFITTED = (
    "the bundle was written but its head was not fitted to the calibration texts, because it cannot run here: %s. The "
    "rounded layers are kept; repeat the command with --force to continue"
)
NEEDS_HEAD = (
    "fewer layers need a refitted head, and {} cannot run here to refit it: {}; convert where it can run. The rounded "
    "layers are kept; the same command continues"
)


def write_head(folder: Path, tensors: Mapping[str, Array]) -> None:
    """Write the head's tensors into the bundle in `folder`."""
    write_safetensors(
        folder / bundles.HEAD, (Tensor(name, "F32", values) for name, values in tensors.items()), len(tensors)
    )


def fitting_texts(
    checkpoint: Checkpoint, calibrate: Texts, kept: Path, *, tokens: int = TOKENS, progress: bool
) -> Calibration:
    """Texts to refit a head on, with about `tokens` tokens at most.

    kept: the folder where a subfolder will keep the whole model's states of them, for every target and depth that is
    given the same folder.
    """
    texts = head_texts(checkpoint, calibrate, tokens)
    key = hashlib.sha256(json.dumps([checkpoint.sha256, texts.ids]).encode()).hexdigest()[:16]
    return Calibration(texts.ids, progress, Unfinished(kept / key), origins=texts.origins)


def fit_head(checkpoint: Checkpoint, folder: Path, calibration: Calibration, manifest: bundles.Manifest) -> bool:
    """Let the head make up for the rounding, and for layers of `checkpoint` that the bundle in `folder` lacks.

    False, with a warning, where this machine cannot run the bundle; without those layers it is of no use then, and
    DeviceError is raised.
    """
    cut = manifest.backbone.layers < checkpoint.backbone.layers
    try:
        if cut:
            tensors, note = refit(checkpoint, folder, calibration)
            depth = {"layers": manifest.backbone.layers, "of": checkpoint.backbone.layers} | note
            manifest = replace(manifest, notes=manifest.notes | {"depth": depth})
        else:
            found = recover(checkpoint, folder, calibration)
            tensors = checkpoint.head() | {bundles.MAP_MATRIX: found.matrix, bundles.MAP_BIAS: found.bias}
    except CannotRunHereError as error:
        if cut:
            raise DeviceError(NEEDS_HEAD.format(manifest.target, error)) from error
        log.warning(UNFITTED, error)
        return False
    write_head(folder, tensors)
    bundles.seal(folder, manifest, changed=[bundles.HEAD])
    return True
