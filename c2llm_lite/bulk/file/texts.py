"""The texts of a file, line by line, and the hash of what was read: by it a resumed run knows its input again."""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ...errors import TextError

ID_FIELD = "id"
MAX_LINE = 1 << 26  # bytes; a longer line is no text, but a file without line ends
PART_BYTES = 1 << 26  # of lines read at a time, so that long ones do not fill the memory
_CHUNK = 1 << 20

Id = str | int | None


class Row(NamedTuple):
    """A line's text, and its id if it is JSON that has one."""

    text: str
    id: Id


class TextFile:
    r"""Rows of a stream: each line is one, ended by \n or \r\n alone (a form feed or U+2028 is text).

    `consumed` and `sha256` are of the bytes read so far, from the stream's beginning.
    """

    def __init__(self, stream: BinaryIO, name: str, *, field: str | None, prompted: bool) -> None:
        self.name = name
        self.consumed = 0
        self.lines = 0
        self._stream = stream
        self._field = field
        self._prompted = prompted
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of the bytes read so far."""
        return self._hash.hexdigest()

    def read(self, rows: int) -> list[Row]:
        """The next rows, at most `rows`; none at the end. Raises TextError, naming the line, for a broken one."""
        found: list[Row] = []
        begun = self.consumed
        while len(found) < rows and self.consumed - begun < PART_BYTES:
            line = self._stream.readline(MAX_LINE + 1)
            if not line:
                break
            self._take(line)
            self.lines += 1
            try:
                found.append(self._row(line))
            except ValueError as error:
                raise TextError(f"{self.name}, line {self.lines}: {error}") from None
        return found

    def skip(self, size: int, lines: int, sha256: str) -> bool:
        """Pass over the first `size` bytes, which held `lines` lines; False where they are not those of that hash."""
        last = b""
        while self.consumed < size and (chunk := self._stream.read(min(_CHUNK, size - self.consumed))):
            self._take(chunk)
            last = chunk[-1:]
        self.lines = lines
        same = self.consumed == size and self.sha256 == sha256
        if same and last not in (b"", b"\n"):
            same = not self._stream.read(1)  # a last line that had no end must still be the last, or it has grown
        return same

    def skip_rest(self) -> None:
        """Read to the end, for the hash alone."""
        while chunk := self._stream.read(_CHUNK):
            self._take(chunk)

    def bytes_left(self) -> int | None:
        """None where the stream is no regular file."""
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
            raise ValueError(f"longer than {MAX_LINE >> 20} MiB: is this a file with one text a line?")
        if self.lines == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.endswith(b"\n"):
            line = line[:-1].removesuffix(b"\r")
        try:
            decoded = line.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"not UTF-8 at byte {error.start}: convert the file to UTF-8") from None
        row = Row(decoded, None) if self._field is None else _json_row(decoded, self._field)
        if not row.text and not self._prompted:
            raise ValueError("the text is empty: give it words, remove the line, or give a prompt")
        return row


@contextlib.contextmanager
def open_texts(source: str | Path, *, field: str | None, prompted: bool) -> Iterator[TextFile]:
    """`source`'s texts; "-" is standard input. `field`: the text's field where the lines are JSON.

    prompted: whether a prompt goes before each text, so that one may be empty. Raises OSError where the file cannot be
    opened.
    """
    if str(source) == "-":
        yield TextFile(sys.stdin.buffer, "standard input", field=field, prompted=prompted)
    else:
        with Path(source).open("rb") as stream:
            yield TextFile(stream, str(source), field=field, prompted=prompted)


def _json_row(line: str, field: str) -> Row:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ValueError(f"a JSON {type(data).__name__}, not an object with a field {field!r}")
    if field not in data:
        raise ValueError(
            f"no field {field!r} among {', '.join(map(repr, data)) or 'none'}: name the text's with --field"
        )
    text, id_ = data[field], data.get(ID_FIELD)
    if not isinstance(text, str):
        raise ValueError(f"field {field!r} is a {type(text).__name__}, not a string")
    if not (id_ is None or isinstance(id_, str | int)) or isinstance(id_, bool):
        raise ValueError(f"field {ID_FIELD!r} is a {type(id_).__name__}: make it a string or an integer")
    for name, value in ((field, text), (ID_FIELD, id_)):
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError(f"field {name!r} is not valid Unicode: it holds half of a surrogate pair")
    return Row(text, id_)
