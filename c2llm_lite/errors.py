"""The errors of this package. Each message says what is wrong, where, and what to do."""

from __future__ import annotations


class CheckpointError(ValueError):
    """The source is not a C2LLM checkpoint, or one that this package does not support."""


class BundleError(ValueError):
    """A bundle is missing, incomplete or altered, or its format is newer than this version."""


class TextError(ValueError):
    """A text cannot be embedded: it is empty, not a string, or not valid Unicode. The message names its index."""


class InputError(ValueError):
    """An input is missing, cannot be read, or lacks the requested column."""


class OutputError(OSError):
    """An output already exists, cannot be written, or does not fit on the disk."""


class MissingDependencyError(ImportError):
    """An optional library is not installed. The message names the extra that installs it."""

    def __init__(self, library: str, extra: str, need: str) -> None:
        super().__init__(
            f"{need} needs {library}, which is not installed: pip install 'c2llm-lite[{extra}]'", name=library
        )


class ArgumentError(ValueError):
    """An argument is out of range, unknown, or excluded by another argument."""


class DeviceError(ValueError):
    """The requested device is not available."""


class OutOfMemoryError(MemoryError):
    """A bundle does not fit in the free memory."""


class ForkError(RuntimeError):
    """The process was forked from one that had embedded; an engine would hang in it."""
