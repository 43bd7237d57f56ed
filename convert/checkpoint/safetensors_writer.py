"""Writing a safetensors file tensor by tensor, so that converting a model of any size needs the memory of one tensor.

safetensors' own writers take every tensor at once. Here room for the header is kept free, the data follow it as they
come, and the header is written last. Format: https://huggingface.co/docs/safetensors/index#format (the header's length
as 8 little-endian bytes; the header, which may end in spaces; the data without gaps).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from c2llm_lite.errors import ArgumentError

Dtype = Literal["F32", "BF16", "I8", "U8"]
ALIGNMENT = 64  # bytes: where the data start; a cache line
_ENTRY = 256  # bytes of header kept free for each tensor: its name, type, shape and offsets take about 150


class Tensor(NamedTuple):
    """A tensor as it is written: its name, type and values."""

    name: str
    dtype: Dtype
    values: NDArray[Any]  # BF16 as its bits in uint16


def write_safetensors(path: Path, tensors: Iterable[Tensor], count: int) -> None:
    """Write at most `count` tensors to `path`, each as it is drawn from `tensors`.

    Raises OSError if the disk is full, ValueError if there are more tensors than `count`.
    """
    room = -(-(8 + (count + 1) * _ENTRY) // ALIGNMENT) * ALIGNMENT - 8
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    with path.open("wb") as file:
        file.seek(8 + room)
        end = 0
        for name, dtype, values in tensors:
            start, end = end, end + values.nbytes
            header[name] = {"dtype": dtype, "shape": values.shape, "data_offsets": [start, end]}
            file.write(np.ascontiguousarray(values).data)
        text = json.dumps(header).encode()
        if len(text) > room:
            raise ArgumentError(f"{len(header) - 1} tensors do not fit in the header's room for {count}")
        file.seek(0)
        file.write(room.to_bytes(8, "little") + text.ljust(room))
