"""The words of every piece, in an FTS5 table of the index: found by name where vectors find by meaning.

One row for each row of `pieces`, with the same rowid, in the same transactions. The table keeps no text of its own:
what it holds is computed again from `pieces`, `files` and `texts`, to remove a row or to build the table anew.

`meta` keeps its state: the version of the rules below, a checksum of the pieces it was built from, and one of the
table's own blocks. An index from before, or one that a version without this module wrote to, has another state: its
vectors are searched, and its next update builds the table. Blocks that a disk or a copy changed are damage.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence

from .checksums import DamagedError
from .identifiers import split

VERSION = "1"  # increased when words or columns change
META = "lexical"
GROWING = "-"  # for the checksum of the blocks while an update adds to them, or after one that was stopped
# Symbol, path, body. Lexical NDCG@10 was 0.630 with equal weights, 0.639 with (4, 2, 1) and 0.648 with these, on the
# development questions of benchmarks/lab/search_questions.
WEIGHTS = (8.0, 4.0, 1.0)
MOST_WORDS = 64  # of a query

_CREATE = (
    "CREATE VIRTUAL TABLE lexical USING fts5 "
    "(symbol, path, body, content='', tokenize=\"porter unicode61 tokenchars '_'\")"
)
_ROWS = (
    "SELECT {first}, split(pieces.symbol), split(files.path), split(texts.text) "
    "FROM pieces JOIN files ON files.id = pieces.file JOIN texts ON texts.id = pieces.text"
)
_INSERT = f"INSERT INTO lexical (rowid, symbol, path, body) {_ROWS.format(first='pieces.rowid')}"
_DELETE = "INSERT INTO lexical (lexical, rowid, symbol, path, body) " + _ROWS.format(first="'delete', pieces.rowid")
_OF_FILE = " WHERE files.path = ?"
_BLOCKS = (
    "SELECT id, block FROM lexical_data ORDER BY id",
    "SELECT id, sz FROM lexical_docsize ORDER BY id",
    "SELECT segid, term, pgno FROM lexical_idx ORDER BY segid, term",
)
_PIECES = "SELECT coalesce(sum(crc32 * (1 + rowid % 1009)), 0) FROM pieces NOT INDEXED"


class Lexical:
    """The lexical side of one open index. Every method runs within a transaction of its caller."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """connection: of the index."""
        self._connection = connection
        self._connection.create_function("split", 1, split, deterministic=True)
        self.supported = _has_fts5(connection)

    def bring_up(self) -> None:
        """Build the table unless it is what this version would have written."""
        if not self.supported:
            return
        try:
            current = self.is_current()
        except DamagedError:
            current = False
        if not current:
            self._connection.execute("DROP TABLE IF EXISTS lexical")
            self._connection.execute(_CREATE)
            self._connection.execute(_INSERT)
            self.finish()

    def add(self, path: str) -> None:
        """Add the pieces of a file, which are in the index."""
        if self.supported:
            self._connection.execute(_INSERT + _OF_FILE, (path,))

    def remove(self, path: str) -> None:
        """Remove the pieces of a file, which are in the index still."""
        if self.supported:
            self._connection.execute(_DELETE + _OF_FILE, (path,))

    def changed(self) -> None:
        """Note at the end of a transaction that the table has the pieces as they are now. Its blocks will change."""
        if self.supported:
            self._keep(f"{VERSION} {self._of_pieces()} {GROWING}")

    def finish(self) -> None:
        """Note the state at the end of an update's last transaction: the blocks too, which takes a while to compute."""
        if self.supported:
            # FTS5 writes new words to its blocks at a savepoint or at the commit. SQLite 3.40 opens a savepoint with
            # each statement that may need one; 3.53 does not, and the blocks read here would be the earlier ones.
            self._connection.execute("SAVEPOINT words")
            self._connection.execute("RELEASE words")
            self._keep(f"{VERSION} {self._of_pieces()} {self._of_blocks()}")

    def is_current(self) -> bool:
        """Whether the table can be searched. Raises DamagedError if it was changed from outside."""
        if not self.supported:
            return False
        kept = self._connection.execute("SELECT value FROM meta WHERE name = ?", (META,)).fetchone()
        if kept is None:
            return False
        version, pieces, blocks = (*str(kept[0]).split(" "), "", "")[:3]
        if version != VERSION or pieces != str(self._of_pieces()):
            return False
        if not self._has_table() or (blocks != GROWING and blocks != str(self._of_blocks())):
            raise DamagedError("the lexical index is not as it was written")
        return True

    def is_finished(self) -> bool:
        """Whether the last update noted the blocks too."""
        kept = self._connection.execute("SELECT value FROM meta WHERE name = ?", (META,)).fetchone()
        return not self.supported or (kept is not None and not kept[0].endswith(GROWING))

    def missing(self) -> str:
        """Why there is no lexical side, and what to do."""
        if self.supported:
            return "the index has no words yet; update it"
        return "this Python's SQLite has no FTS5, which words are searched with; use another Python"

    def scores(self, query: str, limit: int) -> dict[int, float]:
        """BM25 of texts that share a word with the query, by id: the best `limit`, the higher the better."""
        return self._scores(_words(query), limit)

    def strength(self, query: str, best: float) -> float:
        """How much of a query its best text has, by that text's score: 1 if every word stands in it at its best."""
        alone = sum(max(self._scores([word], 1).values(), default=0.0) for word in _words(query))
        return min(1.0, best / alone) if alone > 0 else 0.0

    def _scores(self, words: Sequence[str], limit: int) -> dict[int, float]:
        if not words:
            return {}
        found: dict[int, float] = {}
        for text, score in self._connection.execute(
            f"SELECT pieces.text, -bm25(lexical, {', '.join(map(str, WEIGHTS))}) AS score "
            "FROM lexical JOIN pieces ON pieces.rowid = lexical.rowid "
            "WHERE lexical MATCH ? ORDER BY score DESC LIMIT ?",
            (" OR ".join(f'"{word}"' for word in words), limit),
        ):
            found.setdefault(text, score)
        return found

    def _keep(self, state: str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (META, state))

    def _has_table(self) -> bool:
        return self._connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'lexical'").fetchone() is not None

    def _of_pieces(self) -> int:
        try:
            return int(self._connection.execute(_PIECES).fetchone()[0])
        except sqlite3.OperationalError as error:
            if "crc32" not in str(error):
                raise
            return -1  # format 1 has no checksums

    def _of_blocks(self) -> int:
        crc32 = 0
        for statement in _BLOCKS:
            for row in self._connection.execute(statement):
                for value in row:
                    crc32 = zlib.crc32(value if isinstance(value, bytes) else repr(value).encode(), crc32)
        return crc32


def _words(query: str) -> list[str]:
    return list(dict.fromkeys(split(query).split()))[:MOST_WORDS]


def _has_fts5(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchone() is not None
