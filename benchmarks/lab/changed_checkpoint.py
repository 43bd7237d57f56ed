"""Writes a checkpoint with other weights: an experiment's variant of a checkpoint, which converts as the given one."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from c2llm_lite.convert.checkpoint import Checkpoint
from c2llm_lite.convert.checkpoint.safetensors_writer import Tensor, write_safetensors
from c2llm_lite.pma import Array


def write_changed(given: Checkpoint, folder: Path, tensors: Iterable[tuple[str, Array]]) -> None:
    """Write `given` into `folder`, which exists, with these tensors in fp32: one for each of its names."""
    for path in (given.folder / "config.json", given.tokenizer_file, *given.license_files):
        shutil.copyfile(path, folder / path.name)
    written = (Tensor(name, "F32", values) for name, values in tensors)
    write_safetensors(folder / "model.safetensors", written, len(given.names()))
