"""Shows the help of a command's arguments in `--help`.

typer before 0.26 loses it beside click 8.5 and later, and huggingface-hub keeps typer there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from typer.core import TyperArgument, TyperCommand
from typer.models import ArgumentInfo


def with_argument_help(command: Callable[..., None]) -> type[TyperCommand]:
    """The class of a typer command whose arguments have the help that their annotations give."""
    helps = {
        name: info.help
        for name, parameter in inspect.signature(command, eval_str=True).parameters.items()
        for info in getattr(parameter.annotation, "__metadata__", ())
        if isinstance(info, ArgumentInfo)
    }

    class Command(TyperCommand):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **settings)
            for parameter in self.params:
                if isinstance(parameter, TyperArgument):
                    parameter.help = helps[str(parameter.name)]

    return Command
