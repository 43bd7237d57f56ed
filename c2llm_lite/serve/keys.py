"""API keys from a file, compared so that the time an answer takes tells nothing about them."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from .failures import ApiError


class Keys:
    """The keys that may call; none at all lets everyone."""

    def __init__(self, keys: list[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    @classmethod
    def read(cls, path: Path) -> Keys:
        """One key a line; empty lines and those that begin with # are passed over.

        Raises ValueError where there is none, or where one has a character that no header can carry.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not text: give a file with one key a line") from error
        keys = []
        for number, line in enumerate(lines, 1):
            key = line.strip()
            if not key or key.startswith("#"):
                continue
            if not (key.isascii() and key.isprintable()) or " " in key:
                raise ValueError(f"{path}, line {number}: a key is of visible ASCII characters, without spaces")
            keys.append(key)
        if not keys:
            raise ValueError(f"{path} holds no key: write one a line, such as `openssl rand -hex 32` prints")
        return cls(keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def check(self, authorization: str | None) -> None:
        """Raises ApiError 401 unless the header `Authorization: Bearer KEY` holds one of the keys."""
        if not self._digests:
            return
        scheme, _, given = (authorization or "").partition(" ")
        digest = _digest(given.strip().encode("latin-1"))  # as headers are decoded
        # Every key is compared, whether or not one fitted already.
        if sum(hmac.compare_digest(digest, known) for known in self._digests) and scheme.lower() == "bearer":
            return
        message = "no such API key" if given else "this server asks for an API key: Authorization: Bearer KEY"
        raise ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


def _digest(key: bytes) -> bytes:
    """Of one length for every key: compare_digest tells lengths apart."""
    return hashlib.sha256(key).digest()
