"""What a search index holds, for tests that compare it before and after."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from c2llm_lite.search.database import DATABASE


def content(place: Path) -> dict[str, Any]:
    """All that an index holds, whatever order it was written in."""
    connection = sqlite3.connect(place / DATABASE)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        pieces = (
            "SELECT path, start, end, symbol, sha256 FROM pieces "
            "JOIN files ON files.id = pieces.file JOIN texts ON texts.id = pieces.text"
        )
        return {
            "files": sorted(connection.execute("SELECT path, digest, language FROM files")),
            "pieces": sorted(connection.execute(pieces)),
            "texts": sorted(connection.execute("SELECT sha256, text, vector FROM texts")),
        }
    finally:
        connection.close()
