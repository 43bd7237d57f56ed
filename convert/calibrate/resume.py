"""Keeps the finished layers of a calibration in a folder, so that it can resume, or another depth can use them.

After each layer there are two files: what the bundle holds of the layer's matrices, and the texts' states on their way
through the backbone. So the folder grows to the size of the bundle's backbone and of those states. The whole model's
final states, at full precision, are another file.

Layers are rounded in order, so what is kept of one does not depend on how many follow.
"""

from __future__ import annotations

import contextlib
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c2llm_lite.durable import durable
from c2llm_lite.errors import OutputError
from c2llm_lite.pma import Array

# What a bundle holds of one matrix, by names that its format gives them.
Parts = dict[str, NDArray[Any]]


class Unfinished:
    """What is kept of one calibration: of all that would round the same layers in the same way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def layers(self) -> int:
        """How many are done."""
        return max((int(path.stem.removeprefix("after-")) for path in self.folder.glob("after-*.npz")), default=0)

    def matrices(self, layer: int) -> dict[str, Parts]:
        """By the matrix's name. Raises OutputError if the file is damaged."""
        found: dict[str, Parts] = {}
        for name, values in self._read(self._matrices(layer)).items():
            matrix, _, part = name.partition("/")
            found.setdefault(matrix, {})[part] = values
        return found

    def states(self) -> list[list[Array]]:
        """What keep() was given last. Raises OutputError if the file is damaged."""
        found: list[list[Array]] = []
        for name, values in self._read(self._states(self.layers())).items():  # in the order of writing
            if name.endswith("/0"):
                found.append([])
            found[-1].append(values)
        return found

    def keep(self, layer: int, matrices: Mapping[str, Parts], states: Sequence[Sequence[Array]]) -> None:
        """What there is when `layer`, counted from 0, is done: its matrices, and forwards' states, in groups of texts.

        Raises OutputError if it cannot be written.
        """
        parts = {f"{matrix}/{part}": values for matrix, held in matrices.items() for part, values in held.items()}
        groups = {f"{forward}/{i}": x for forward, xs in enumerate(states) for i, x in enumerate(xs)}
        with self._as_output_error():
            _write(self._matrices(layer), parts)
            _write(self._states(layer + 1), groups)
            self._states(layer).unlink(missing_ok=True)

    def full_states(self, lengths: Sequence[int]) -> list[Array] | None:
        """What keep_full_states() was given, of texts of these lengths. Raises OutputError if the file is damaged."""
        if not self._full.exists():
            return None
        return np.split(self._read(self._full)["states"], np.cumsum(lengths)[:-1])

    def keep_full_states(self, states: Sequence[Array]) -> None:
        """Keep each text's final states, (tokens, hidden), at full depth. Raises OutputError if it cannot."""
        with self._as_output_error():
            _write(self._full, {"states": np.concatenate(states)})

    @contextlib.contextmanager
    def named_if_stopped(self) -> Iterator[None]:
        """Give a KeyboardInterrupt in the block the message that names what is kept and how to continue."""
        try:
            yield
        except KeyboardInterrupt as stop:
            if not (layers := self.layers()):
                raise
            kept = f"{layers} rounded layers are kept in {self.folder}; the same command continues"
            raise type(stop)(kept) from None

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def _as_output_error(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            yield
        except OSError as error:
            reason = f"cannot keep what is computed so far in {self.folder}: {error.strerror or error}"
            raise OutputError(error.errno, reason) from error

    @property
    def _full(self) -> Path:
        return self.folder / "full-states.npz"

    def _matrices(self, layer: int) -> Path:
        return self.folder / f"layer-{layer}.npz"

    def _states(self, layers: int) -> Path:
        return self.folder / f"after-{layers}.npz"

    def _read(self, path: Path) -> dict[str, NDArray[Any]]:
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise OutputError(f"{path} cannot be read ({error}); delete {self.folder} to start over") from error


def _write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with durable(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle
