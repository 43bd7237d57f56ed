"""Ctrl-C and SIGTERM while OpenVINO's front end converts.

It takes whatever the Python code that it calls raises, a signal's handler included, for an operation that it cannot
convert, and raises an OpConversionFailure instead.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


@contextlib.contextmanager
def stops_come_through() -> Iterator[None]:
    """Raise what a signal's handler raised in the block, whatever a library made of it. Does nothing in a thread."""
    raised: list[BaseException] = []

    def noting(handler: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
        def noted(number: int, frame: FrameType | None) -> None:
            try:
                handler(number, frame)
            except BaseException as stop:
                raised.append(stop)
                raise

        return noted

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                before[number] = handler
                signal.signal(number, noting(handler))
    try:
        yield
    except Exception as error:
        if not raised:
            raise
        raise raised[0] from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if raised:
        raise raised[0]
