"""A bundle proves itself: its probes, recomputed here, against what they gave when it was made and full precision.

Neither network nor checkpoint is needed. A broken kernel, a wrong build or a flipped bit shows at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from . import bundle as bundles
from . import jsonl
from .embedder import Embedder, load
from .errors import BundleError
from .pma import Array
from .vectors import normalise

# How near a bundle stays to its own record on another machine, by engine and the type of its matrices: what other
# kernels may round differently. OpenVINO computes in fp32 with matrices that are stored in bf16.
SAME_TARGET = {
    ("llama_cpp", bundles.F32): 0.99999,
    ("llama_cpp", bundles.F16): 0.9995,
    ("llama_cpp", bundles.BF16): 0.9995,
    ("openvino", bundles.F32): 0.99999,
    ("openvino", bundles.BF16): 0.99999,
    ("torch", bundles.FP32): 0.99999,
    ("torch", bundles.BF16): 0.9995,
}
SAME_QUANTISED = 0.998
FULL_PRECISION_SLACK = 0.01


@dataclass(frozen=True)
class ProbeResult:
    """One probe's cosines here, each with the least that passes; None where the bundle holds no record."""

    text: str
    own: float | None
    own_least: float
    full: float
    full_least: float | None

    @property
    def passed(self) -> bool:
        """Whether each cosine that is recorded reaches its bound."""
        own_ok = self.own is None or self.own >= self.own_least
        return own_ok and (self.full_least is None or self.full >= self.full_least)


@dataclass(frozen=True)
class Fidelity:
    """How near vectors are to a reference, text by text: cosines (n,), and the figures people quote."""

    cosines: Array

    @property
    def mean(self) -> float:
        """Mean cosine."""
        return float(self.cosines.mean())

    @property
    def percentile_1(self) -> float:
        """First percentile of the cosines."""
        return float(np.percentile(self.cosines, 1))

    @property
    def worst(self) -> float:
        """Lowest cosine."""
        return float(self.cosines.min())

    @property
    def worst_text(self) -> int:
        """Index of the text with the lowest cosine."""
        return int(self.cosines.argmin())


def verify(folder: str | Path, *, device: str = "auto", threads: int | None = None) -> list[ProbeResult]:
    """Check every file's hash, then run every probe, one at a time, from the bundle's own files alone.

    Raises BundleError where a file is missing, cut or altered, or the probes cannot be read; and what `load` raises.
    """
    with load(folder, device=device, threads=threads, check=True, cache=False) as model:
        manifest = model.bundle.manifest
        path = model.bundle.path(bundles.PROBES)
        try:
            recorded = load_file(path)
        except (OSError, SafetensorError) as error:
            raise BundleError(f"{path} cannot be read: {error}; convert or copy the bundle again") from error
        here = probe_vectors(model)
    full = fidelity(here, recorded[bundles.REFERENCE_VECTORS]).cosines
    target = recorded.get(bundles.TARGET_VECTORS)
    own = None if target is None else fidelity(here, target).cosines
    least = SAME_TARGET.get((manifest.engine, manifest.matrix_type()), SAME_QUANTISED)
    return [
        ProbeResult(
            text=probe.text,
            own=None if own is None else float(own[i]),
            own_least=least,
            full=float(full[i]),
            full_least=None if probe.cosine is None else probe.cosine - FULL_PRECISION_SLACK,
        )
        for i, probe in enumerate(manifest.probes)
    ]


def probe_vectors(model: Embedder) -> Array:
    """The probes' vectors (n, d), normalised, each computed alone."""
    return np.stack([model.embed(probe.text) for probe in model.bundle.manifest.probes])


def fidelity(vectors: Array, reference: Array) -> Fidelity:
    """Cosines of (n, d) vectors to their (n, d) references. Raises ValueError where the shapes differ, or n is 0."""
    if vectors.shape != reference.shape or not len(vectors):
        raise ValueError(f"vectors {vectors.shape} and reference {reference.shape} cannot be compared, row by row")
    return Fidelity(np.sum(normalise(vectors) * normalise(reference), axis=1))


def read_texts(path: Path) -> list[str]:
    """The texts of a JSONL file, one object a line with the field `text`. Raises ValueError, naming the line."""
    texts = []
    for place, row in jsonl.read(path):
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise ValueError(f"{place}: not a JSON object with a string `text`")
        texts.append(row["text"])
    if not texts:
        raise ValueError(f"{path} holds no texts")
    return texts


def read_reference(path: Path, texts: Sequence[str]) -> Array:
    """Vectors made elsewhere, one a text: a .npy of (n, d). Raises ValueError where it is not that."""
    try:
        reference = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a .npy of vectors: {error}") from error
    if reference.ndim != 2 or len(reference) != len(texts):
        raise ValueError(
            f"{path} has shape {reference.shape} and there are {len(texts)} texts: one row a text is needed"
        )
    if not np.isfinite(reference).all():
        raise ValueError(f"{path} holds NaN or infinity")
    vectors: Array = reference.astype(np.float32)
    return vectors
