"""The targets that a checkpoint can be converted to, and how they differ: one entry a target."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, cast

from c2llm_lite.bundle import EMBED_TOKENS, HEAD_TENSORS, Backbone
from c2llm_lite.engines.openvino.settings import activation_group
from c2llm_lite.errors import ArgumentError, CheckpointError

from ..calibrate.grids import GRIDS
from ..checkpoint import PMA, Checkpoint, Weights, backbone_names

if TYPE_CHECKING:
    from ..calibrate.layers import Calibration


class Converter(Protocol):
    """What each converter's file offers. A kind is one of the family's in TARGETS."""

    def kinds(self, checkpoint: Weights) -> dict[str, float]:
        """The kinds that this checkpoint's shapes can hold, each with its true bits per backbone weight."""

    def write_backbone(self, checkpoint: Weights, folder: Path, kind: str) -> dict[str, str]:
        """Write the backbone's files into `folder`; returns each tensor's type, by canonical name."""

    def memory(self, checkpoint: Weights, kind: str) -> int:
        """Bytes that a process running the bundle takes, beside what a batch takes."""


class CalibratedConverter(Converter, Protocol):
    """One that can choose its rounding on the activations of texts."""

    def write_backbone(
        self,
        checkpoint: Weights,
        folder: Path,
        kind: str,
        *,
        calibration: Calibration | None = None,
    ) -> dict[str, str]:
        """As Converter's."""


def _whole_token(backbone: Backbone) -> None:
    return None


@dataclass(frozen=True)
class Target:
    """One target, such as gguf:q8_0, as str() gives it."""

    family: str
    kind: str
    module: str  # the file in this folder that converts
    engine: str  # the file in engines/ that runs it
    bits: int  # of the matrices' weights on average, rounded; scales not counted
    # Whether outliers are moved from activations into weights first (calibrate/smoothing.py): for engines that round
    # activations to 8 bits. "on texts": only with calibration texts; without them the checkpoint's own weights stay.
    smoothed: Literal["never", "always", "on texts"] = "never"
    # How many activations share one scale when the engine rounds them; None for all of a token's.
    activation_group: Callable[[Backbone], int | None] = _whole_token
    # The converter rounds weights by calibration texts. Otherwise only the head makes up for the rounding.
    rounded_on_texts: bool = False
    needs_texts: bool = False  # to fix the scales of activations
    last_layer_differs: bool = False  # so that a layer's rounding depends on how many follow

    def __str__(self) -> str:
        return f"{self.family}:{self.kind}"

    @property
    def quantized(self) -> bool:
        """Whether there is rounding that calibration texts can make up for."""
        return self.bits < 16

    @property
    def should_have_texts(self) -> bool:
        """Whether plain rounding loses much: on the stand-in even 5 bits gave cosines under 0.9."""
        return self.bits <= 5

    @property
    def converter(self) -> Converter:
        """Raises MissingDependencyError if the converter's libraries are not installed."""
        return cast(Converter, import_module(f"{__package__}.{self.module}"))


class Available(NamedTuple):
    """A target that a checkpoint can be converted to."""

    target: Target
    bits: float  # true bits per backbone weight, scales included
    size: int  # approximate bytes of the bundle


_gguf = partial(Target, "gguf", module="gguf", engine="llama_cpp")
_openvino = partial(Target, "openvino", module="openvino", engine="openvino")
_torch = partial(Target, "torch", module="full", engine="torch")
_bnb = partial(Target, "bnb", module="bitsandbytes", engine="torch")

# In the order in which they are listed.
TARGETS = (
    _gguf("f32", bits=32),
    _gguf("f16", bits=16),
    _gguf("bf16", bits=16),
    _gguf(
        "q8_0",
        bits=8,
        smoothed="on texts",
        activation_group=lambda backbone: GRIDS["q8_0"].block,
        rounded_on_texts=True,
    ),
    _gguf("q6_k", bits=6, rounded_on_texts=True),
    _gguf("q5_k", bits=5),
    _gguf("q5_0", bits=5),
    _gguf("q4_1", bits=4),
    _gguf("q4_k", bits=4),
    _gguf("q4_0", bits=4, rounded_on_texts=True),
    _gguf("iq4_nl", bits=4, rounded_on_texts=True),
    _gguf("q3_k", bits=3),
    _gguf("int4", bits=4, rounded_on_texts=True),
    # 4 bits, and 8 for the matrices most sensitive to rounding
    _gguf("int5", bits=5, rounded_on_texts=True, last_layer_differs=True),
    _openvino("int8", bits=8, smoothed="always", activation_group=activation_group, rounded_on_texts=True),
    _openvino("int8-static", bits=8, rounded_on_texts=True, needs_texts=True),
    _openvino("int4", bits=4, rounded_on_texts=True),
    _openvino("fp32", bits=32),
    _torch("fp32", bits=32),
    _torch("bf16", bits=16),
    _bnb("int8", bits=8, smoothed="always"),
    _bnb("nf4", bits=4, rounded_on_texts=True),
)


def parse(text: str) -> Target:
    """The target of that name, such as "gguf:q8_0".

    Raises ValueError for a family that does not exist, and as `find` does for a kind.
    """
    family, _, kind = text.partition(":")
    if not kind or not kinds(family):
        raise ArgumentError(
            f"{text!r} is not a target; pass FAMILY:KIND, such as gguf:q8_0; see `convert SOURCE --list-targets`"
        )
    return find(family, kind)


def find(family: str, kind: str) -> Target:
    """A family's target. Raises CheckpointError, listing the family's kinds, where it has no such kind."""
    for target in TARGETS:
        if (target.family, target.kind) == (family, kind):
            return target
    raise CheckpointError(f"{family}:{kind} is not a target of this package; choose one of {', '.join(kinds(family))}")


def kinds(family: str) -> list[str]:
    """The kinds of a family; none if there is no such family."""
    return [target.kind for target in TARGETS if target.family == family]


def available(checkpoint: Checkpoint) -> list[Available]:
    """Every target that this checkpoint can be converted to. No weight is read, and no engine is needed."""

    def elements(names: Iterable[str]) -> int:
        return sum(math.prod(checkpoint.shape(name)) for name in names)

    weights = elements(backbone_names(checkpoint))
    rest = checkpoint.stored_bytes(EMBED_TOKENS) + 4 * elements(PMA + name for name in HEAD_TENSORS)
    rest += checkpoint.tokenizer_file.stat().st_size
    converters = {target.family: target.converter for target in TARGETS}
    return [
        Available(find(family, kind), bits, rest + round(weights * bits / 8))
        for family, converter in converters.items()
        for kind, bits in converter.kinds(checkpoint).items()
    ]
