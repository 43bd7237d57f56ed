"""Reading records."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def load_records(name: Path) -> Iterator[Any]:
    """Yield one object for each line."""
    with name.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
