"""The libraries that a target's conversion needs and that may be missing."""

from __future__ import annotations

import pytest

_EXPORT = ("optimum.exporters.openvino",)
_MODULES = {"openvino:int4": _EXPORT, "openvino:int8": _EXPORT, "bnb:nf4": ("bitsandbytes",), "torch:fp32": ("torch",)}


def skip_without(target: str) -> None:
    for module in _MODULES.get(target, ()):
        pytest.importorskip(module)
