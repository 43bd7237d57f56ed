"""How a command ends when it does not end well: one line that says what to do, or a traceback for a fault of ours.

Exit codes: 1 failed, 130 stopped by Ctrl-C, 143 stopped by SIGTERM; typer's own 2 for a command line it cannot read.
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

INTERRUPTED, TERMINATED = 130, 143  # 128 and the signal's number, as shells have it
# Import name: the extra that brings it.
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
    ValueError,
    MemoryError,
)


class _Terminated(KeyboardInterrupt):
    """SIGTERM: handled as Ctrl-C is, with an exit code of its own."""


@contextlib.contextmanager
def when_stopped(kept: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C and SIGTERM in the block end the command with the line that `kept` gives: what is kept, how to resume."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise type(stop)(kept()) from None


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """The command, which exits as this file's head says, with the options --quiet and --debug beside its own."""

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
            # Who reads has enough, as `head` does. What is left in the buffer has no place to go.
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
                line = f"a fault of c2llm-lite {__version__}: please report it with the lines above"
            err.print(Text.assemble(("error: ", "red"), line))
            raise typer.Exit(1) from None

    own = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in (("quiet", Quiet), ("debug", Debug))
    ]
    run.__signature__ = own.replace(parameters=[*own.parameters.values(), *added])  # type: ignore[attr-defined]
    return run


def one_line(error: Exception) -> str | None:
    """What to print of an error that the user can mend; None for a fault of this package."""
    if isinstance(error, ModuleNotFoundError) and not isinstance(error, errors.MissingDependencyError):
        library = (error.name or "").partition(".")[0]
        if library in EXTRAS:
            return f"{library} is not installed: pip install 'c2llm-lite[{EXTRAS[library]}]'"
        return None
    if isinstance(error, OURS):
        return str(error) or "out of memory: close other programs, or choose a smaller target or --max-tokens"
    if isinstance(error, OSError):
        if error.filename is not None:
            return f"{error.filename}: {error.strerror}"
        if error.errno is None:  # not the system's: a message of this package
            return str(error)
    return None


def _terminate(signum: int, frame: object) -> None:
    raise _Terminated
