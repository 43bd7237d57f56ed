"""Outside a terminal, progress is a line every 30 seconds with rate and time left; silent if not wanted."""

from __future__ import annotations

import pytest

from c2llm_lite import progress


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_every_half_minute(clock, capfd):
    with progress.bar("embedding", 100, "texts") as advance:
        for _ in range(10):
            clock[0] += 8
            advance(4)
    lines = capfd.readouterr().err.splitlines()
    assert lines == [
        "embedding: 16% of 100 texts, 0.5 texts/s, 2:48 left",
        "embedding: 32% of 100 texts, 0.5 texts/s, 2:16 left",
    ]


def test_bytes_of_an_unknown_total(clock, capfd):
    with progress.bar("embedding", None, "bytes") as advance:
        clock[0] += 40
        advance(80_000)
    assert capfd.readouterr().err == "embedding: 80.0 kB, 2.0 kB/s\n"


def test_slow_work_has_a_rate_a_minute(clock, capfd):
    with progress.bar("rounding", 10, "matrices") as advance:
        clock[0] += 40
        advance(1)
    assert capfd.readouterr().err == "rounding: 10% of 10 matrices, 1.5 matrices/min, 6:00 left\n"


def test_a_line_after_each_so_many_units(clock, capfd):
    with progress.bar("rounding", 14, "matrices", every=7) as advance:
        for _ in range(8):
            clock[0] += 100
            advance(1)
    assert capfd.readouterr().err == "rounding: 50% of 14 matrices, 0.6 matrices/min, 11:40 left\n"


def test_silent_when_not_wanted(clock, capfd):
    with progress.bar("embedding", 10, "texts", show=False) as advance:
        clock[0] += 100
        advance(5)
    assert capfd.readouterr().err == ""
