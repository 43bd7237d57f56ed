"""Recomputes a bundle's probe vectors and compares them with the ones stored at conversion and full precision.

This needs neither a network nor the checkpoint, and finds broken kernels, wrong builds and flipped bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import bundle as bundles
from . import jsonl
from .embedder import Embedder, load
from .errors import ArgumentError, BundleError
from .float32_tensors import read_float32
from .pma import Array
from .vectors import normalize

# The lowest cosine to a bundle's own record that passes, by engine and type of its matrices: kernels of another machine
# round differently. OpenVINO computes in fp32 with matrices stored in bf16.
SAME_TARGET = {
    ("llama_cpp", bundles.F32): 0.99999,
    ("llama_cpp", bundles.F16): 0.9995,
    ("llama_cpp", bundles.BF16): 0.9995,
    ("openvino", bundles.F32): 0.99999,
    ("openvino", bundles.BF16): 0.99999,
    ("torch", bundles.FP32): 0.99999,
    ("torch", bundles.BF16): 0.9995,
}
SAME_QUANTIZED = 0.998
FULL_PRECISION_SLACK = 0.01
ROUNDING = 1e-5  # of recorded cosines, which have six decimals


@dataclass(frozen=True)
class ProbeResult:
    """One probe's cosines on this machine.

    Attributes:
        text: The probe's text.
        own: Cosine to the vector that this target gave at conversion; None if the bundle has no record.
        own_least: The lowest `own` that passes.
        full: Cosine to the full-precision vector.
        full_least: The lowest `full` that passes; None if the bundle has no record.
        full_recorded: Cosine of the target's own record to the full-precision vector; None as full_least.
    """

    text: str
    own: float | None
    own_least: float
    full: float
    full_least: float | None
    full_recorded: float | None = None

    @property
    def passed(self) -> bool:
        """Whether each cosine with a record reaches its limit.

        A vector that is nearer to full precision than the record may differ from the record: OpenVINO leaves the
        activations of quantized matrices unquantized on ARM and on x86 without VNNI.
        """
        nearer = self.full_recorded is not None and self.full > self.full_recorded + ROUNDING
        own_ok = self.own is None or self.own >= self.own_least or nearer
        return own_ok and (self.full_least is None or self.full >= self.full_least)


@dataclass(frozen=True)
class Fidelity:
    """Agreement of vectors with a reference.

    Attributes:
        cosines: (n,), the cosine of each text's two vectors.
    """

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


def verify(
    folder: str | Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    public_key: str | Path | Sequence[str | Path] | None = None,
    revoked: str | Path | None = None,
) -> list[ProbeResult]:
    """Check every file's hash, then run every probe, one at a time, using only the bundle's own files.

    Args:
        folder: The bundle.
        device: As in load().
        threads: As in load().
        public_key: As in load().
        revoked: As in load().

    Returns:
        One result per probe.

    Raises:
        BundleError: A file is missing, truncated or altered, the bundle is not signed, or the probes cannot be read.
        OSError: And the other errors of load().
    """
    with load(
        folder, device=device, threads=threads, check=True, cache=False, public_key=public_key, revoked=revoked
    ) as model:
        manifest = model.bundle.manifest
        recorded = _recorded(model.bundle)
        here = probe_vectors(model)
    full = fidelity(here, recorded[bundles.REFERENCE_VECTORS]).cosines
    target = recorded.get(bundles.TARGET_VECTORS)
    own = None if target is None else fidelity(here, target).cosines
    least = SAME_TARGET.get((manifest.engine, manifest.matrix_type()), SAME_QUANTIZED)
    return [
        ProbeResult(
            text=probe.text,
            own=None if own is None else float(own[i]),
            own_least=least,
            full=float(full[i]),
            full_least=None if probe.cosine is None else probe.cosine - FULL_PRECISION_SLACK,
            full_recorded=probe.cosine,
        )
        for i, probe in enumerate(manifest.probes)
    ]


def _recorded(bundle: bundles.Bundle) -> dict[str, Array]:
    """The probes' recorded vectors, (probes, width) each. Raises BundleError."""
    path, manifest = bundle.path(bundles.PROBES), bundle.manifest
    recorded = read_float32(path, [bundles.REFERENCE_VECTORS])
    if not manifest.probes:
        raise BundleError(f"{bundle.folder} has no probes to verify it with; convert the checkpoint again")
    for name, vectors in recorded.items():
        if vectors.shape != (len(manifest.probes), manifest.width) or not np.isfinite(vectors).all():
            raise BundleError(
                f"{path}: {name} does not contain the probes' vectors; copy the bundle again, or convert again"
            )
    return recorded


def probe_vectors(model: Embedder) -> Array:
    """The probes' vectors (n, d), normalized, each computed separately."""
    return np.stack([model.embed(probe.text) for probe in model.bundle.manifest.probes])


def fidelity(vectors: Array, reference: Array) -> Fidelity:
    """Cosines of (n, d) vectors to their (n, d) references.

    Raises:
        ArgumentError: The shapes differ, or n is 0.
    """
    if vectors.shape != reference.shape or not len(vectors):
        raise ArgumentError(f"vectors {vectors.shape} and reference {reference.shape} have different shapes or no rows")
    return Fidelity(np.sum(normalize(vectors) * normalize(reference), axis=1))


def read_texts(path: Path) -> list[str]:
    """The texts of a JSON lines file with the field `text`. Raises ArgumentError, naming the line."""
    texts = []
    for place, row in jsonl.read(path):
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise ArgumentError(f"{place}: not a JSON object with a string in the field `text`")
        texts.append(row["text"])
    if not texts:
        raise ArgumentError(f"{path} contains no texts")
    return texts


def read_reference(path: Path, texts: Sequence[str]) -> Array:
    """Vectors computed elsewhere, one per text: a .npy of (n, d). Raises ArgumentError if it is not that."""
    try:
        reference = np.load(path, allow_pickle=False)
    except Exception as error:  # NumPy lets errors of its header's parser through
        raise ArgumentError(f"{path} is not a .npy file of vectors: {error}") from error
    if not isinstance(reference, np.ndarray) or reference.dtype.kind not in "fiu":
        raise ArgumentError(f"{path} is not a .npy file of vectors: it does not contain one array of numbers")
    if reference.ndim != 2 or len(reference) != len(texts):
        raise ArgumentError(
            f"{path} has shape {reference.shape}, but there are {len(texts)} texts; it needs one row per text"
        )
    if not np.isfinite(reference).all():
        raise ArgumentError(f"{path} contains NaN or infinity")
    vectors: Array = reference.astype(np.float32)
    return vectors
