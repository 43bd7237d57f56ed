"""The texts of an index and their vectors: which text has none yet, and how long one that no file holds is kept.

A text is stored when its file is read, without a vector (an empty one), so that it is found by its words at once. One
that no file holds any more keeps its vector for a while: a branch that is checked out again is not embedded again.
Every function runs within a transaction of its caller.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from ..pma import Array
from . import checksums
from .checksums import DamagedError, change

DAYS = 30  # that a text is kept after the last file with it is gone
_DAY_NS = 86_400_000_000_000

# The most useful first: what was changed on a later day, then what is in a smaller file.
_PENDING = f"""
SELECT texts.id, length(texts.text) FROM texts
JOIN pieces ON pieces.text = texts.id JOIN files ON files.id = pieces.file
WHERE length(texts.vector) = 0 GROUP BY texts.id
ORDER BY max(files.mtime / {_DAY_NS}) DESC, min(files.size), min(files.path), min(pieces.start)
"""


def pending(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    """The id and the characters of each text that has no vector, in the order in which they should be embedded."""
    return connection.execute(_PENDING).fetchall()


def read(connection: sqlite3.Connection, ids: Sequence[int]) -> list[str]:
    """These texts. Raises DamagedError for one that is not as it was written."""
    found = []
    for id_ in ids:
        row = connection.execute("SELECT text, sha256 FROM texts WHERE id = ?", (id_,)).fetchone()
        if row is None or not checksums.is_text(*row):
            raise DamagedError("a text is not as it was written")
        found.append(row[0])
    return found


def add(connection: sqlite3.Connection, sha256: bytes, text: str) -> None:
    """Store a text without a vector, unless it is stored."""
    change(
        connection,
        "texts",
        "INSERT INTO texts (sha256, text, vector, crc32) VALUES (?, ?, x'', ?) ON CONFLICT DO NOTHING",
        (sha256, text, checksums.of_text(sha256, b"")),
    )


def set_vectors(connection: sqlite3.Connection, vectors: Mapping[int, Array]) -> None:
    """vectors: (d,) by the text's id."""
    for id_, vector in vectors.items():
        (sha256,) = connection.execute("SELECT sha256 FROM texts WHERE id = ?", (id_,)).fetchone()
        stored = vector.astype("<f4").tobytes()
        connection.execute(
            "UPDATE texts SET vector = ?, crc32 = ? WHERE id = ?",
            (stored, checksums.of_text(sha256, stored), id_),
        )


def drop_unused(connection: sqlite3.Connection, now: int) -> None:
    """Drop texts that no file holds: after DAYS, and the longest unused beyond a third of all. now: in seconds."""
    in_use = "SELECT text FROM pieces"
    connection.execute(f"DELETE FROM unused WHERE text IN ({in_use})")
    connection.execute(f"INSERT OR IGNORE INTO unused SELECT id, ? FROM texts WHERE id NOT IN ({in_use})", (now,))
    _drop(connection, "SELECT text FROM unused WHERE since < ?", now - DAYS * 86_400)
    _drop(connection, "SELECT id FROM texts JOIN unused ON unused.text = id WHERE length(vector) = ?", 0)
    (every,) = connection.execute("SELECT count(*) FROM texts").fetchone()
    (unused,) = connection.execute("SELECT count(*) FROM unused").fetchone()
    over = unused - (every - unused) // 2
    if over > 0:
        _drop(connection, "SELECT text FROM unused ORDER BY since, text LIMIT ?", over)


def _drop(connection: sqlite3.Connection, selected: str, value: int) -> None:
    change(connection, "texts", f"DELETE FROM texts WHERE id IN ({selected})", (value,))
    connection.execute("DELETE FROM unused WHERE text NOT IN (SELECT id FROM texts)")
