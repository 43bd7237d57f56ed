"""Reading and writing files."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_jsonl(path: Path) -> Iterator[Any]:
    """Yield one object for each line."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def count_lines(path: Path) -> int:
    """Count the newlines of a file of any size."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file so that readers see the old content or the new, never a part."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(content)
        os.fsync(file.fileno())
    temporary.replace(path)
