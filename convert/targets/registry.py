"""The targets a checkpoint can be converted to: a family, whose file in this folder converts, and a kind within it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from c2llm_lite.engines.openvino import activation_group

from ..calibrate.grids import GRIDS
from ..calibrate.layers import Calibration
from ..calibrate.smoothing import Smoothed
from ..checkpoint import Checkpoint
from ..proof.probes import token_ids

# family: (the file that converts, the engine that runs)
FAMILIES = {
    "gguf": ("gguf", "llama_cpp"),
    "openvino": ("openvino", "openvino"),
    "torch": ("full", "torch"),
    "bnb": ("bitsandbytes", "torch"),
}
# Targets that quantise nothing, so that calibration texts have nothing to mend.
FULL_PRECISION = ("gguf:f32", "gguf:f16", "gguf:bf16", "openvino:fp32", "torch:fp32", "torch:bf16")
# Most of their weights have 4 bits.
FOUR_BIT = ("gguf:q4_0", "gguf:iq4_nl", "gguf:int4", "gguf:int5", "openvino:int4", "bnb:nf4")
# Targets whose converter rounds by calibration texts; with the others, only the head makes up for the rounding.
ROUNDED_ON_TEXTS = (*FOUR_BIT, "gguf:q8_0", "openvino:int8", "openvino:int8-static")
# Their engines round activations to 8 bits as they come: outliers are moved into the weights first (smoothing.py).
SMOOTHED = ("openvino:int8", "bnb:int8")
# Plain, it holds the checkpoint's own weights.
SMOOTHED_ON_TEXTS = (*SMOOTHED, "gguf:q8_0")


class Converter(Protocol):
    """What each converter's file offers."""

    def kinds(self, checkpoint: Checkpoint) -> dict[str, float]:
        """The kinds that this checkpoint's shapes can hold, each with its true bits per backbone weight."""

    def write_backbone(self, checkpoint: Checkpoint, folder: Path, kind: str) -> dict[str, str]:
        """Write the backbone's files into `folder`; returns each tensor's type, by canonical name."""

    def memory(self, checkpoint: Checkpoint, kind: str) -> int:
        """Bytes that a process running the bundle takes, beside what a batch takes."""


class CalibratedConverter(Converter, Protocol):
    """One that can choose its rounding on the activations of texts."""

    def write_backbone(
        self,
        checkpoint: Checkpoint,
        folder: Path,
        kind: str,
        *,
        calibration: Calibration | None = None,
    ) -> dict[str, str]:
        """As Converter's."""


@dataclass(frozen=True)
class Target:
    family: str
    kind: str

    def __str__(self) -> str:
        return f"{self.family}:{self.kind}"

    @property
    def engine(self) -> str:
        return FAMILIES[self.family][1]

    @property
    def converter(self) -> Converter:
        """The family's converter. Raises MissingDependencyError where its libraries are not installed."""
        return _converter(self.family)

    def write_backbone(
        self,
        checkpoint: Checkpoint,
        folder: Path,
        calibration: Calibration | None,
    ) -> dict[str, str]:
        """The converter's, with texts where it takes them, of a checkpoint smoothed by them, or else by the probes.

        Raises ValueError for texts where nothing is quantised.
        """
        if calibration is not None and str(self) in FULL_PRECISION:
            raise ValueError(f"{self} is not quantised: leave out the calibration texts")
        if str(self) in (SMOOTHED if calibration is None else SMOOTHED_ON_TEXTS):
            texts = token_ids(checkpoint) if calibration is None else calibration.texts
            checkpoint = Smoothed(checkpoint, texts, self._group(checkpoint))
        if calibration is None or str(self) not in ROUNDED_ON_TEXTS:
            return self.converter.write_backbone(checkpoint, folder, self.kind)
        converter = cast(CalibratedConverter, self.converter)
        return converter.write_backbone(checkpoint, folder, self.kind, calibration=calibration)

    def _group(self, checkpoint: Checkpoint) -> int | None:
        """Activations that share a scale in a target of 8 bits; None for all of a token's."""
        return {"openvino": activation_group(checkpoint.backbone), "gguf": GRIDS["q8_0"].block}.get(self.family)


def parse(text: str) -> Target:
    """ "gguf:q8_0" -> Target. Raises ValueError for a family that does not exist; the converter checks the kind."""
    family, colon, kind = text.partition(":")
    if family not in FAMILIES or not colon or not kind:
        raise ValueError(f"{text!r} is not a target: give FAMILY:KIND, such as gguf:q8_0; see `convert --list-targets`")
    return Target(family, kind)


def available(checkpoint: Checkpoint) -> list[tuple[Target, float]]:
    """Every target that this checkpoint can be converted to, with its true bits per backbone weight."""
    return [
        (Target(family, kind), bits)
        for family in FAMILIES
        for kind, bits in _converter(family).kinds(checkpoint).items()
    ]


def _converter(family: str) -> Converter:
    return cast(Converter, import_module(f"{__package__}.{FAMILIES[family][0]}"))
