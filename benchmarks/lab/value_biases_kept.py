"""Converts to openvino:int8 with the biases of values left where the checkpoint has them: what moving them gains.

python -m c2llm_lite.benchmarks.lab.value_biases_kept CHECKPOINT BUNDLE
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from unittest import mock

import typer

from c2llm_lite.convert import convert


def main(checkpoint: str, bundle: Path) -> None:
    """Write BUNDLE, or replace it."""
    target = import_module("c2llm_lite.convert.targets.openvino")
    with mock.patch.object(target, "move_value_biases"):
        convert(checkpoint, bundle, "openvino:int8", force=True)


if __name__ == "__main__":
    typer.run(main)
