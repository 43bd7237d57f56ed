"""Reads a file's texts line by line and hashes them, so that a resumed run can recognize its input."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ... import jsonl
from ...errors import ArgumentError, TextError

ID_FIELD = "id"
MAX_LINE = 1 << 26  # bytes; a longer line means a file without line ends
PART_BYTES = 1 << 26  # of lines read at a time, so that long ones do not exhaust the memory
_CHUNK = 1 << 20
BYTE_ORDER_MARK = "\ufeff"

Id = str | int | None


class Row(NamedTuple):
    """A text, its id, and its line in the file, counted from 1."""

    text: str
    id: Id
    line: int


class LeftOut(NamedTuple):
    """A skipped line and the reason."""

    line: int
    id: Id
    reason: str


class TextFile:
    r"""Rows of a stream, one per line; only \n or \r\n ends a line (a form feed or U+2028 is text).

    Blank lines of JSON lines are skipped. `consumed`, `lines` and `sha256` describe the bytes read so far. left_out:
    broken lines that were skipped, if skip_bad; the caller that records them clears it.
    """

    def __init__(
        self, stream: BinaryIO, name: str, *, field: str | None, prompted: bool, skip_bad: bool = False
    ) -> None:
        self.name = name
        self.consumed = 0
        self.lines = 0
        self._stream = stream
        self._field = field
        self._prompted = prompted
        self._skip_bad = skip_bad
        self.left_out: list[LeftOut] = []
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The hash of the bytes read so far."""
        return self._hash.hexdigest()

    def read(self, rows: int) -> list[Row]:
        """The next rows, at most `rows`; none at the end.

        Raises TextError, naming the line, for a broken line, unless these are skipped.
        """
        found: list[Row] = []
        begun = self.consumed
        while len(found) < rows and (not found or self.consumed - begun < PART_BYTES):
            line = self._stream.readline(MAX_LINE + 1)
            if not line:
                break
            self._take(line)
            self.lines += 1
            if self._field is not None and jsonl.is_blank(line):
                continue
            try:
                found.append(self._row(line))
            except ValueError as error:
                if not self._skip_bad:
                    raise TextError(f"{self.name}, line {self.lines}: {error}") from None
                self.left_out.append(LeftOut(self.lines, None, str(error)))
        return found

    def skip(self, size: int, sha256: str) -> bool:
        """Skip the first `size` bytes. Returns False if they do not have this hash."""
        last = b""
        while self.consumed < size and (chunk := self._stream.read(min(_CHUNK, size - self.consumed))):
            self._take(chunk)
            self.lines += chunk.count(b"\n")
            last = chunk[-1:]
        self.lines += last not in (b"", b"\n")
        same = self.consumed == size and self.sha256 == sha256
        if same and last not in (b"", b"\n"):
            # If the last line had no newline, it must still be the last; otherwise it has grown.
            same = not self._stream.read(1)
        return same

    def skip_rest(self) -> None:
        """Read to the end, only for the hash."""
        while chunk := self._stream.read(_CHUNK):
            self._take(chunk)

    def bytes_left(self) -> int | None:
        """Bytes left; None if the stream is not a regular file."""
        try:
            status = os.fstat(self._stream.fileno())
        except OSError:
            return None
        return max(0, status.st_size - self.consumed) if stat.S_ISREG(status.st_mode) else None

    def _take(self, content: bytes) -> None:
        self._hash.update(content)
        self.consumed += len(content)

    def _row(self, line: bytes) -> Row:
        if len(line) > MAX_LINE:
            raise ArgumentError(f"longer than {MAX_LINE >> 20} MiB; the file must have one text per line")
        text, id_ = jsonl.decode(line), None
        if self._field is not None:
            text, id_ = _text_and_id(text, self._field)
        elif self.lines == 1:
            text = text.removeprefix(BYTE_ORDER_MARK)
        if not text and not self._prompted:
            raise ArgumentError("empty text; remove the line, pass a prompt, or pass --skip-bad")
        return Row(text, id_, self.lines)


@contextlib.contextmanager
def open_texts(source: Path, *, field: str | None, prompted: bool, skip_bad: bool = False) -> Iterator[TextFile]:
    """The texts of `source`; "-" is standard input. field: the text's field, if the lines are JSON.

    prompted: whether a prompt precedes each text, so that texts may be empty. skip_bad: skip broken lines. Raises
    OSError if the file cannot be opened.
    """
    if str(source) == "-":
        yield TextFile(sys.stdin.buffer, "standard input", field=field, prompted=prompted, skip_bad=skip_bad)
    else:
        with source.open("rb") as stream:
            yield TextFile(stream, str(source), field=field, prompted=prompted, skip_bad=skip_bad)


def _text_and_id(line: str, field: str) -> tuple[str, Id]:
    data = jsonl.parse(line)
    if not isinstance(data, dict):
        raise ArgumentError(f"a JSON {type(data).__name__}, not an object with a field {field!r}")
    if field not in data:
        raise ArgumentError(
            f"no field {field!r} in {', '.join(map(repr, data)) or 'an empty object'}; pass its name with --field"
        )
    text, id_ = data[field], data.get(ID_FIELD)
    if not isinstance(text, str):
        raise ArgumentError(f"field {field!r} is a {type(text).__name__}, not a string")
    if not (id_ is None or isinstance(id_, str | int)) or isinstance(id_, bool):
        raise ArgumentError(f"field {ID_FIELD!r} is a {type(id_).__name__}, not a string or an integer")
    for name, value in ((field, text), (ID_FIELD, id_)):
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise ArgumentError(f"field {name!r} is not valid Unicode: it contains half of a surrogate pair")
    return text, id_
