"""A checksum for each row of an index: what a disk, a copy or another program changed is noticed, not searched.

CRC-32: against damage, not against an attacker, who may as well write an index of his own.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib

TABLES = ("files", "texts", "pieces")
UNCHECKED = "1"  # the format without checksums


class DamagedError(ValueError):
    """A row that is not as it was written, is missing, or is there twice."""


def of_file(path: str, digest: str, language: str) -> int:
    """Of a row of `files`."""
    return zlib.crc32(f"{path}\0{digest}\0{language}".encode())


def of_text(sha256: bytes, vector: bytes) -> int:
    """Of a row of `texts`. The text itself is compared with its sha256 when it is shown."""
    return zlib.crc32(vector, zlib.crc32(sha256))


def of_piece(file: int, sha256: bytes, start: int, end: int, symbol: str) -> int:
    """Of a row of `pieces`. file: the checksum of the file's row; sha256: of its text."""
    return zlib.crc32(f"{start!r} {end!r} {symbol}".encode(), zlib.crc32(sha256, file))


def is_text(text: object, sha256: object) -> bool:
    """Whether a text is the one that was stored under this hash."""
    return isinstance(text, str) and hashlib.sha256(text.encode()).digest() == sha256


def counted(table: str) -> str:
    """The name in `meta` under which the number of a table's rows is kept."""
    return f"rows of {table}"


def change(
    connection: sqlite3.Connection, table: str, statement: str, values: tuple[object, ...] = ()
) -> sqlite3.Cursor:
    """Insert or delete rows and keep count of them, within a transaction.

    Not by counting what is there: rows that were lost would be counted out.
    """
    cursor = connection.execute(statement, values)
    if cursor.rowcount:
        added = -cursor.rowcount if statement.startswith("DELETE") else cursor.rowcount
        connection.execute("UPDATE meta SET value = value + ? WHERE name = ?", (added, counted(table)))
    return cursor


def add(connection: sqlite3.Connection) -> None:
    """Add checksums to an index of format 1, within a transaction. Raises DamagedError for a text that has changed."""
    for table in TABLES:
        connection.execute(f"ALTER TABLE {table} ADD COLUMN crc32 INTEGER NOT NULL DEFAULT 0")
    connection.create_function("of_file", 3, of_file)
    connection.create_function("of_text", 2, of_text)
    connection.create_function("of_piece", 5, of_piece)
    for text, sha256 in connection.execute("SELECT text, sha256 FROM texts"):
        if not is_text(text, sha256):
            raise DamagedError("a text does not match its sha256")
    connection.execute("UPDATE files SET crc32 = of_file(path, digest, language)")
    connection.execute("UPDATE texts SET crc32 = of_text(sha256, vector)")
    connection.execute(
        "UPDATE pieces SET crc32 = of_piece((SELECT crc32 FROM files WHERE id = pieces.file), "
        "(SELECT sha256 FROM texts WHERE id = pieces.text), start, end, symbol)"
    )
    for table in TABLES:
        (rows,) = connection.execute(f"SELECT count(*) FROM {table} NOT INDEXED").fetchone()
        connection.execute("INSERT INTO meta VALUES (?, ?)", (counted(table), rows))
