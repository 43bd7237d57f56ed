"""Deprecation warnings of our own calls are errors in the tests (pyproject.toml's filterwarnings)."""

from __future__ import annotations

import warnings

import pytest


@pytest.mark.parametrize("kind", [DeprecationWarning, PendingDeprecationWarning, FutureWarning])
def test_a_warning_of_our_own_call_is_an_error(kind: type[Warning]) -> None:
    with pytest.raises(kind):
        warnings.warn_explicit("it goes", kind, "file.py", 1, module="c2llm_lite.convert.targets.gguf")


def test_a_library_s_own_is_not() -> None:
    with pytest.warns(DeprecationWarning, match="it goes"):
        warnings.warn_explicit("it goes", DeprecationWarning, "file.py", 1, module="torch.jit")
