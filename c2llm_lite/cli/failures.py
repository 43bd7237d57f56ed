"""Turns a command's exceptions into one line that says what to do; bugs of this package keep their traceback.

Exit codes: 1 failure, 130 stopped by Ctrl-C, 143 stopped by SIGTERM; typer exits with 2 for an invalid command line.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from rich.text import Text

from .. import __version__, errors
from .options import err, settings

Quiet = Annotated[bool, typer.Option("--quiet", help="Print no progress.")]
Debug = Annotated[bool, typer.Option("--debug", help="Print the traceback of any error.")]

INTERRUPTED, TERMINATED = 130, 143  # 128 plus the signal's number, as in shells
# Import name -> the extra that installs it.
EXTRAS = {
    "llama_cpp": "llama-cpp",
    "openvino": "openvino",
    "torch": "torch",
    "transformers": "convert-openvino",
    "bitsandbytes": "bitsandbytes",
    "gguf": "convert",
    "huggingface_hub": "convert",
    "optimum": "convert-openvino",
    "nncf": "convert-openvino",
    "pyarrow": "parquet",
    "tree_sitter": "search",
    "tree_sitter_language_pack": "search",
    "starlette": "serve",
    "uvicorn": "serve",
    "prometheus_client": "serve",
    "ray": "ray",
    "mteb": "mteb",
    "ir_measures": "bench",
    "matplotlib": "bench",
    "networkx": "bench",
    "cryptography": "sign",
}
OURS = (
    errors.CheckpointError,
    errors.BundleError,
    errors.TextError,
    errors.InputError,
    errors.OutputError,
    errors.MissingDependencyError,
    errors.DeviceError,
    errors.ArgumentError,
    MemoryError,
)


class _Terminated(KeyboardInterrupt):
    """SIGTERM: handled like Ctrl-C, with its own exit code."""


@contextlib.contextmanager
def when_stopped(kept: Callable[[], str]) -> Iterator[None]:
    """Within the block, Ctrl-C and SIGTERM end the command with the line from `kept`: what is kept, how to resume."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise type(stop)(kept()) from None


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command: add --quiet and --debug, and exit with the codes above."""

    @functools.wraps(command)
    def run(*arguments: Any, quiet: bool, debug: bool, **options: Any) -> None:
        settings.quiet = quiet
        signal.signal(signal.SIGTERM, _terminate)
        try:
            command(*arguments, **options)
        except KeyboardInterrupt as stop:
            if debug:
                raise
            err.print(f"stopped: {stop}" if stop.args else "stopped: nothing was written")
            raise typer.Exit(TERMINATED if isinstance(stop, _Terminated) else INTERRUPTED) from None
        except BrokenPipeError:
            # The reader closed the pipe, as `head` does. Discard what is left in the buffer.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if type(error).__module__.startswith(("click", "typer")):
                raise
            line = None if debug else one_line(error)
            if line is None:
                traceback.print_exc()
                line = f"this is a bug in c2llm-lite {__version__}; please report it with the traceback above"
            err.print(Text.assemble(("error: ", "red"), line))
            raise typer.Exit(1) from None

    own = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in (("quiet", Quiet), ("debug", Debug))
    ]
    run.__signature__ = own.replace(parameters=[*own.parameters.values(), *added])  # type: ignore[attr-defined]  # read by typer
    return run


def one_line(error: Exception) -> str | None:
    """The message of an error that the user can fix; None for a bug of this package."""
    if isinstance(error, ModuleNotFoundError) and not isinstance(error, errors.MissingDependencyError):
        library = (error.name or "").partition(".")[0]
        if library in EXTRAS:
            return f"{library} is not installed: pip install 'c2llm-lite[{EXTRAS[library]}]'"
        return None
    if isinstance(error, OURS):
        return str(error) or "out of memory; close other programs, or use a smaller target or --max-tokens"
    if isinstance(error, OSError):
        if error.filename is not None:
            return f"{error.filename}: {error.strerror}"
        if error.errno is None:  # not raised by the system: a message of this package
            return str(error)
    return None


def _terminate(signum: int, frame: object) -> None:
    raise _Terminated
