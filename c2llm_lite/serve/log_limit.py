"""A log that clients cannot fill: one line a minute of each kind."""

from __future__ import annotations

import logging
import threading
import time

SECONDS = 60.0
# What clients can make write: uvicorn's complaints, asyncio's, and this package's own.
LOGGERS = ("uvicorn.error", "asyncio", "c2llm_lite.serve.connection", "c2llm_lite.serve.queue")


class OncePerMinute(logging.Filter):
    """Passes the first line of each kind in a minute, and tells with the next how many were left out.

    A kind is a logger, a message before its values are filled in, and an exception's type.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, str, type | None], tuple[float, int]] = {}  # when one passed, how many since

    def filter(self, record: logging.LogRecord) -> bool:
        """logging's: whether to write this line."""
        kind = (record.name, str(record.msg).partition("\n")[0], record.exc_info[0] if record.exc_info else None)
        now = time.monotonic()
        with self._lock:
            passed, left_out = self._kinds.get(kind, (-SECONDS, 0))
            if now - passed < SECONDS:
                self._kinds[kind] = (passed, left_out + 1)
                return False
            self._kinds[kind] = (now, 0)
        if left_out:
            record.msg = f"{record.msg} ({left_out} more like this since the last one)"
        return True
