"""Builds dataclasses from JSON that is not trusted: every field's type, range and length is checked.

A field's bounds are part of its type: `Annotated[int, Range(1, 512)]`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from .errors import ArgumentError

DEEPEST = 32  # nested objects and lists
MOST_ITEMS = 100_000


@dataclass(frozen=True)
class Range:
    """Least and most of a number; ends included."""

    least: float
    most: float

    def admits(self, value: Any) -> bool:
        """False for NaN too."""
        return bool(self.least <= value <= self.most)

    def __str__(self) -> str:
        return f"from {self.least} to {self.most}"


@dataclass(frozen=True)
class Matches:
    """A regular expression that the whole text matches."""

    pattern: str

    def admits(self, value: Any) -> bool:
        """Whether the text matches."""
        return re.fullmatch(self.pattern, value, re.DOTALL) is not None

    def __str__(self) -> str:
        return f"of the form {self.pattern}"


def parse(text: str) -> Any:
    """JSON without NaN, infinity, lone surrogates and deep nesting. Raises ValueError."""
    try:
        data = json.loads(text, parse_constant=_refuse)
        _check_depth(data, DEEPEST)
        json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError:
        raise ArgumentError("it is nested too deeply") from None
    except UnicodeEncodeError:
        raise ArgumentError("it contains a lone surrogate, which is not valid Unicode") from None
    return data


def build(cls: type[Any], data: Any, where: str) -> Any:
    """An object of a dataclass, field by field. Raises ValueError that names the field; where: the JSON's name."""
    if not isinstance(data, dict):
        raise ArgumentError(f"{where} is not an object")
    hints = get_type_hints(cls, include_extras=True)
    if set(data) != set(hints):
        odd = ", ".join(sorted(set(data) ^ set(hints)))
        raise ArgumentError(f"{where} has missing or unknown fields: {odd:.200}")
    return cls(**{name: _value(hint, data[name], f"{where}: {name}") for name, hint in hints.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _bounded(args[0], args[1], value, where)
    if hint is Any:
        return value
    if hasattr(hint, "__dataclass_fields__"):
        return build(hint, value, where)
    if origin is dict and isinstance(value, dict) and len(value) <= MOST_ITEMS:
        return {
            _value(args[0], key, f"{where}'s key"): _value(args[1], item, f"{where}.{key:.80}")
            for key, item in value.items()
        }
    if origin is tuple and isinstance(value, list) and len(value) <= MOST_ITEMS:
        return tuple(_value(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if NoneType in args:
        return None if value is None else _value(args[0], value, where)
    # A Literal's words, or a plain type.
    if (isinstance(value, str) and value in args) or type(value) is hint or (hint is float and type(value) is int):
        return value
    raise ArgumentError(f"{where} is {value!r:.80}, which is not {getattr(hint, '__name__', hint)}")


def _bounded(hint: Any, bounds: Any, value: Any, where: str) -> Any:
    found = _value(hint, value, where)
    if not bounds.admits(found):
        raise ArgumentError(f"{where} is {found!r:.80}, which is not {bounds}")
    return float(found) if hint is float else found


def _check_depth(value: Any, left: int) -> None:
    if not isinstance(value, dict | list):
        return
    if left == 0:
        raise ArgumentError(f"it is nested more than {DEEPEST} levels deep")
    for item in value.values() if isinstance(value, dict) else value:
        _check_depth(item, left - 1)


def _refuse(constant: str) -> None:
    raise ArgumentError(f"it contains {constant}")
