"""Recovery: an affine map of the states, fitted on calibration texts, that undoes part of the quantization.

More than half of what rounding to 4 bits does to the final states is linear in them (on the stand-in: 55 to 58% of the
squared error). The ridge solution from quantized to full-precision states follows from two second moments and is
absorbed into the head's key and value weights when a bundle is loaded: nothing at run time, and hidden x hidden numbers
on disk.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c2llm_lite import machine
from c2llm_lite.bundle import open_bundle
from c2llm_lite.engines import open_engine
from c2llm_lite.errors import BundleError
from c2llm_lite.pma import AffineMap, Array
from c2llm_lite.progress import bar

from .. import reference
from ..checkpoint import Weights
from ..proof import child
from .layers import Calibration

Doubles = NDArray[np.float64]
# Of the mean variance of the quantized states; the largest leaves states nearly alone.
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
FOLDS = 5  # one text in so many judges a ridge that the others were fitted with


def fit(quantized: Sequence[Array], full: Sequence[Array]) -> AffineMap:
    """The map that brings quantized states nearest to full-precision ones, shrunk towards the identity.

    quantized, full: (tokens, hidden) float32 of each text. The ridge is the one that is best on held-out texts, so that
    few texts, or similar texts, change little.
    """
    fitted, judging = _Moments(), _Moments()
    for index, (ours, theirs) in enumerate(zip(quantized, full, strict=True)):
        (judging if index % FOLDS == FOLDS - 1 else fitted).add(ours, theirs - ours)
    ridge = max(RIDGES)
    if judging.tokens:
        ridge = min(RIDGES, key=lambda candidate: judging.error(*fitted.solve(candidate)))
    fitted.join(judging)
    slope, offset = fitted.solve(ridge)
    return AffineMap((np.eye(len(slope)) + slope).astype(np.float32), offset.astype(np.float32))


class _Moments:
    """Sums over tokens from which a ridge regression of the errors on the quantized states follows, in fp64."""

    def __init__(self) -> None:
        self.tokens = 0
        self._states: Any = 0.0  # (hidden,)
        self._errors: Any = 0.0  # (hidden,)
        self._gram: Any = 0.0  # states × states
        self._cross: Any = 0.0  # states × errors
        self._power = 0.0  # of the errors

    def add(self, states: Array, errors: Array) -> None:
        x, e = states.astype(np.float64), errors.astype(np.float64)
        self.tokens += len(x)
        self._states = self._states + x.sum(axis=0)
        self._errors = self._errors + e.sum(axis=0)
        self._gram = self._gram + x.T @ x
        self._cross = self._cross + x.T @ e
        self._power += float(np.square(e).sum())

    def join(self, other: _Moments) -> None:
        self.tokens += other.tokens
        self._states = self._states + other._states
        self._errors = self._errors + other._errors
        self._gram = self._gram + other._gram
        self._cross = self._cross + other._cross
        self._power += other._power

    def solve(self, ridge: float) -> tuple[Doubles, Doubles]:
        """Slope (hidden, hidden) and offset (hidden,): an error is about slope @ state + offset."""
        mean, error_mean = self._states / self.tokens, self._errors / self.tokens
        gram = self._gram - self.tokens * np.outer(mean, mean)
        cross = self._cross - self.tokens * np.outer(mean, error_mean)
        gram[np.diag_indices(len(gram))] += ridge * max(np.trace(gram) / len(gram), np.finfo(np.float32).tiny)
        slope = np.linalg.solve(gram, cross).T
        return slope, error_mean - slope @ mean

    def error(self, slope: Doubles, offset: Doubles) -> float:
        """The squared error that is left over these tokens."""
        explained = np.sum(slope * self._cross.T) + offset @ self._errors
        moved = np.sum((slope @ self._gram) * slope) + 2 * offset @ (slope @ self._states)
        return float(self._power - 2 * explained + moved + self.tokens * offset @ offset)


def recover(checkpoint: Weights, folder: Path, calibration: Calibration) -> AffineMap:
    """The map for the bundle in `folder`, as its engine computes the texts on this machine. Raises as engine_states."""
    with engine_states(folder, calibration) as states:
        return fit(states, full_states(checkpoint, calibration))


@contextlib.contextmanager
def engine_states(folder: Path, calibration: Calibration) -> Iterator[list[Array]]:
    """Each text's final states, (tokens, hidden), as the engine of the bundle in `folder` gives them; in a file.

    Raises CannotRunHereError if this machine lacks what that takes; BundleError if the bundle crashes or gives NaN.
    """
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "states.npy"
        texts = calibration.texts
        ids, what = json.dumps(texts).encode(), "on the calibration texts"
        with bar("running the texts", len(texts), "texts", show=calibration.progress) as advance:
            arguments = str(folder), str(path)
            child.run(__name__, *arguments, stdin=ids, what=what, remedy="leave out --calibrate", advance=advance)
        ends = np.cumsum([len(text) for text in texts])[:-1]
        found = np.split(np.load(path, mmap_mode="r"), ends)
        if not all(np.isfinite(states).all() for states in found):
            raise BundleError(f"the new bundle returned NaN or infinity {what} and was deleted; try another target")
        yield found


def full_states(checkpoint: Weights, calibration: Calibration) -> list[Array]:
    """Each text's final states at full precision and full depth: those of an earlier step, or of an earlier run."""
    unfinished = calibration.unfinished
    if calibration.states is None and unfinished is not None:
        calibration.states = unfinished.full_states([len(text) for text in calibration.texts])
    if calibration.states is None:
        with bar("full precision", checkpoint.backbone.layers, "layers", show=calibration.progress) as advance:
            calibration.states = reference.states(checkpoint, calibration.texts, lambda done, of: advance(1))
        if unfinished is not None:
            unfinished.keep_full_states(calibration.states)
    return calibration.states


def _write_states(folder: Path, path: Path, texts: Sequence[Sequence[int]]) -> None:
    """The states of all texts, one text at a time, end to end: (tokens, hidden) float32. Prints a 1 for each text."""
    bundle = open_bundle(folder)
    shape = (sum(map(len, texts)), bundle.manifest.backbone.hidden)
    engine = open_engine(bundle, device="auto", threads=machine.cores(), max_tokens=max(map(len, texts)))
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with path.open("wb") as file:  # not through a memory map: on a full disk that would kill the process
        np.lib.format.write_array_header_1_0(file, header)
        for text in texts:
            for states in engine.states(text):
                file.write(np.ascontiguousarray(states, "<f4").data)
            print(1, flush=True)
    engine.close()


if __name__ == "__main__":
    with child.reported():
        _write_states(Path(sys.argv[1]), Path(sys.argv[2]), json.load(sys.stdin))
