"""Limits the log that clients can cause to one line a minute of each kind."""

from __future__ import annotations

import logging
import threading
import time

SECONDS = 60.0
# Loggers that clients can trigger: uvicorn's, asyncio's, and this package's.
LOGGERS = ("uvicorn.error", "asyncio", "c2llm_lite.serve.connection", "c2llm_lite.serve.queue")


class OncePerMinute(logging.Filter):
    """Passes the first line of each kind in a minute; the next one says how many were suppressed.

    A kind is a logger, an unformatted message, and an exception's type.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._kinds: dict[
            tuple[str, str, type | None], tuple[float, int]
        ] = {}  # time of the last line, number suppressed since

    def filter(self, record: logging.LogRecord) -> bool:
        """Called by logging: whether to write this line."""
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
