"""Every error a user can meet, each saying what to do about it."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A source that is not a C2LLM checkpoint, or one this package cannot run; the message names the reason."""


class BundleError(ValueError):
    """A bundle that is missing, incomplete, altered, or made by a newer format."""


class TextError(ValueError):
    """A text that cannot be embedded: empty, not a string, or not valid Unicode; the message names its index."""


class InputError(ValueError):
    """An input that is missing, cannot be read, or lacks the column that was asked for."""


class OutputError(OSError):
    """An output that exists already, cannot be written, or does not fit on the disk."""


class MissingDependencyError(ImportError):
    """A library that this step needs is not installed; the message names the extra that brings it."""

    def __init__(self, library: str, extra: str, need: str) -> None:
        super().__init__(
            f"{need} needs {library}, which is not installed: pip install 'c2llm-lite[{extra}]'", name=library
        )


class ArgumentError(ValueError):
    """An argument that is out of range, unknown, or does not go with another."""


class DeviceError(ValueError):
    """A device that was asked for by name and is not there."""


class OutOfMemoryError(MemoryError):
    """A bundle that would not fit in the memory that is free."""


class ForkError(RuntimeError):
    """A process that was forked from one that had embedded, in which an engine would wait forever."""
