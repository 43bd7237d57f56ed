"""What ended a child process, on each system."""

from __future__ import annotations

import pytest

from c2llm_lite.child_process import crash


@pytest.mark.parametrize(
    ("code", "name"),
    [(0, None), (1, None), (-4, "SIGILL"), (0xC000001D, "exception 0xC000001D"), (0xC0000005, "exception 0xC0000005")],
)
def test_a_crash_has_a_name(code: int, name: str | None) -> None:
    assert crash(code) == name
