"""Results files: JSON that is whole or absent, also where a run is cut off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from c2llm_lite.durable import durable


def write_results(path: Path, found: Any) -> None:
    """Write `found` as JSON in place of what `path` had. Raises OSError where it cannot be written."""
    with durable(path) as file:
        file.write(f"{json.dumps(found, indent=1)}\n".encode())
