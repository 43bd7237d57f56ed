"""What decides an output's vectors: a resumed run must have the same, and OUT.meta.json tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..bundle import Bundle
from ..vectors import Precision

FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """`prompt` is the prefix itself, whatever name it was asked for by; `field` is None if lines are texts."""

    format: int
    bundle: str  # sha256 of its manifest
    source: str  # the checkpoint's name
    target: str
    prompt: str
    dim: int
    precision: Precision
    normalize: bool
    max_tokens: int
    field: str | None

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        *,
        prompt: str,
        dim: int,
        precision: Precision,
        normalize: bool,
        max_tokens: int,
        field: str | None,
    ) -> Settings:
        """The settings of a run with this bundle."""
        manifest = bundle.manifest
        return cls(
            format=FORMAT,
            bundle=bundle.sha256,
            source=manifest.source.name,
            target=manifest.target,
            prompt=prompt,
            dim=dim,
            precision=precision,
            normalize=normalize,
            max_tokens=max_tokens,
            field=field,
        )

    def differing(self, recorded: Mapping[str, Any]) -> list[str]:
        """Names of the settings in which an earlier run's record is another."""
        return [name for name, value in asdict(self).items() if name not in recorded or recorded[name] != value]
