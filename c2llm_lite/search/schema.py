"""The tables of an index, and what an index of an earlier format lacks.

Format 1 had no checksums, format 2 a vector for every text and no status of files. Each is upgraded in place by the
next update: vectors stay.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from . import checksums
from .checksums import UNCHECKED, counted

FORMAT = "3"
READABLE = (FORMAT, "2", UNCHECKED)

_FILES_COLUMNS = (
    "size INTEGER NOT NULL DEFAULT 0",
    "mtime INTEGER NOT NULL DEFAULT -1",  # -1: the next update hashes the file
    "inode INTEGER NOT NULL DEFAULT 0",
)
_SINCE_3 = (
    "CREATE TABLE IF NOT EXISTS skipped (path TEXT PRIMARY KEY, reason TEXT NOT NULL, "
    "size INTEGER NOT NULL, mtime INTEGER NOT NULL, inode INTEGER NOT NULL)",
    # Since when no file holds a text, in seconds.
    "CREATE TABLE IF NOT EXISTS unused (text INTEGER PRIMARY KEY, since INTEGER NOT NULL)",
    "CREATE INDEX IF NOT EXISTS texts_pending ON texts (id) WHERE length(vector) = 0",
)
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, digest TEXT NOT NULL, language TEXT NOT NULL,
    crc32 INTEGER NOT NULL, {", ".join(_FILES_COLUMNS)});
CREATE TABLE IF NOT EXISTS texts (
    id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, text TEXT NOT NULL, vector BLOB NOT NULL,
    crc32 INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS pieces (
    file INTEGER NOT NULL REFERENCES files (id), text INTEGER NOT NULL REFERENCES texts (id),
    start INTEGER NOT NULL, end INTEGER NOT NULL, symbol TEXT NOT NULL, crc32 INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS pieces_file ON pieces (file);
CREATE INDEX IF NOT EXISTS pieces_text ON pieces (text);
{";".join(_SINCE_3)};
"""


def create(connection: sqlite3.Connection, identity: Mapping[str, str]) -> None:
    """Make the tables, within a transaction. identity: what decides a text's vector."""
    for statement in _SCHEMA.split(";"):
        connection.execute(statement)
    meta = dict(identity) | {"format": FORMAT} | {counted(table): "0" for table in checksums.TABLES}
    connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())


def upgrade(connection: sqlite3.Connection, format_: str | None) -> None:
    """Bring an index of this format up, within a transaction. Raises DamagedError."""
    if format_ == FORMAT:
        return
    if format_ == UNCHECKED:
        checksums.add(connection)
    for column in _FILES_COLUMNS:
        connection.execute(f"ALTER TABLE files ADD COLUMN {column}")
    for statement in _SINCE_3:
        connection.execute(statement)
    connection.execute("UPDATE meta SET value = ? WHERE name = 'format'", (FORMAT,))
