"""llama.cpp's log on Python's logging, under "c2llm_lite.llama_cpp"."""

from __future__ import annotations

import functools
import logging
from collections import deque
from typing import Any, ClassVar

log = logging.getLogger("c2llm_lite.llama_cpp")
log.addHandler(logging.NullHandler())  # without one, Python prints the warnings


class LogLines:
    """Takes llama.cpp's log, which comes in pieces of lines, to Python's logging, and keeps the last errors."""

    # enum ggml_log_level of ggml.h (llama-cpp-python's own table is of an older release); 5 continues the line before.
    LEVELS: ClassVar = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}
    CONTINUED = 5

    def __init__(self, llama: Any) -> None:
        self._errors: deque[str] = deque(maxlen=4)  # one failure takes up to three lines, the reason first
        self._level = logging.DEBUG
        self._line = ""
        self._callback = llama.llama_log_callback(self._take)
        llama.llama_log_set(self._callback, None)

    def errors(self) -> str:
        """llama.cpp's messages about the last failure."""
        told = "; ".join(self._errors) or "it gave no reason"
        self._errors.clear()
        return told

    def _take(self, level: int, text: bytes, _: object) -> None:
        if level != self.CONTINUED:
            self._level = self.LEVELS.get(level, logging.DEBUG)
        self._line += text.decode(errors="replace")
        *lines, self._line = self._line.split("\n")
        for line in lines:
            if self._level == logging.ERROR:
                self._errors.append(line)
            log.log(self._level, "%s", line)


@functools.cache
def log_lines(llama: Any) -> LogLines:
    """One for the process: llama.cpp has one log, and its callback must outlive every engine."""
    return LogLines(llama)
