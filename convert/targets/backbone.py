"""Writing a checkpoint's backbone for a target: smoothed if the target asks for it, then by the target's converter."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from c2llm_lite.errors import ArgumentError

from ..calibrate.layers import Calibration
from ..calibrate.smoothing import Smoothed
from ..checkpoint import Checkpoint, Weights
from ..proof.probes import token_ids
from .registry import CalibratedConverter, Target


def write_backbone(
    target: Target, checkpoint: Checkpoint, folder: Path, calibration: Calibration | None, *, progress: bool = False
) -> dict[str, str]:
    """Write the backbone's files into `folder`; returns each tensor's type, by canonical name.

    calibration: texts that decide the smoothing, in place of the probes, and the rounding, for the targets that take
    them. progress: show a bar while the smoothing is chosen.

    Raises ValueError for texts where nothing is quantized, and for none if they are needed; and what the converter
    raises.
    """
    check_texts(target, calibration is not None)
    weights: Weights = checkpoint
    if target.smoothed == "always" or (target.smoothed == "on texts" and calibration is not None):
        texts = token_ids(checkpoint) if calibration is None else calibration.texts
        weights = Smoothed(checkpoint, texts, target.activation_group(checkpoint.backbone), progress=progress)
    if calibration is None or not target.rounded_on_texts:
        return target.converter.write_backbone(weights, folder, target.kind)
    converter = cast(CalibratedConverter, target.converter)
    return converter.write_backbone(weights, folder, target.kind, calibration=calibration)


def check_texts(target: Target | None, given: bool, *, cut: bool = False) -> None:
    """Raise ValueError for calibration texts where nothing takes them, and for none if they are needed.

    target: None if it is not chosen yet. cut: the backbone ends early, and the head is refitted on texts.
    """
    if cut and not given:
        raise ArgumentError("fewer layers need texts to refit the head on; pass --calibrate FILE, FOLDER or default")
    if target is None:
        return
    if given and not target.quantized and not cut:
        raise ArgumentError(f"{target} is not quantized; omit the calibration texts")
    if not given and target.needs_texts:
        raise ArgumentError(f"{target} fixes the scales of activations on texts; pass --calibrate FILE, or default")
