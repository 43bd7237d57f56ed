"""API keys from a file, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import stat
from pathlib import Path

from ..arguments import as_path
from ..errors import ArgumentError
from .failures import ApiError

log = logging.getLogger(__name__)

FILE_BYTES = 1 << 20
GUESSED = 16  # characters; shorter keys can be guessed


class Keys:
    """The accepted keys. Without any, every client is accepted."""

    def __init__(self, keys: list[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    @classmethod
    def read(cls, path: Path) -> Keys:
        """Read one key per line; empty lines and lines that start with # are ignored.

        Warns about short keys and about a file that everyone can write. Raises ArgumentError if there is no key, or if
        a key has a character that a header cannot carry.
        """
        try:
            lines = _content(as_path(path, "the key file")).decode().splitlines()
        except UnicodeDecodeError as error:
            raise ArgumentError(f"{path} is not text; pass a file with one key per line") from error
        keys = []
        for number, line in enumerate(lines, 1):
            key = line.strip()
            if not key or key.startswith("#"):
                continue
            if not (key.isascii() and key.isprintable()) or " " in key:
                raise ArgumentError(
                    f"{path}, line {number}: a key may only have visible ASCII characters, without spaces"
                )
            if len(key) < GUESSED:
                log.warning(
                    "%s, line %d: this key has %d characters; keys under %d characters can be guessed. Use a longer "
                    "one, such as the output of `openssl rand -hex 32`",
                    path,
                    number,
                    len(key),
                    GUESSED,
                )
            keys.append(key)
        if not keys:
            raise ArgumentError(
                f"{path} contains no key; write one per line, such as the output of `openssl rand -hex 32`"
            )
        return cls(keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def check(self, authorization: str | None) -> None:
        """Raise ApiError 401 unless the header `Authorization: Bearer KEY` has one of the keys."""
        if not self._digests:
            return
        scheme, _, given = (authorization or "").partition(" ")
        digest = _digest(given.strip().encode("latin-1"))  # as headers are decoded
        # Compare every key, even after a match.
        if sum(hmac.compare_digest(digest, known) for known in self._digests) and scheme.lower() == "bearer":
            return
        message = "no such API key" if given else "this server asks for an API key: Authorization: Bearer KEY"
        raise ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


def _content(path: Path) -> bytes:
    """A regular file's bytes. Other kinds are refused: a FIFO may block forever, a device may never end."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ArgumentError(f"{path} is not a regular file; write the keys to a file, one per line")
        if status.st_size > FILE_BYTES:
            raise ArgumentError(f"{path} is larger than {FILE_BYTES >> 20} MiB; pass a file with one key per line")
        if status.st_mode & stat.S_IWOTH and os.name == "posix":
            log.warning("%s can be written by every user, who could add a key; run chmod o-w on it", path)
        return os.read(descriptor, FILE_BYTES)
    finally:
        os.close(descriptor)


def _digest(key: bytes) -> bytes:
    """A digest of fixed length: compare_digest reveals lengths."""
    return hashlib.sha256(key).digest()
