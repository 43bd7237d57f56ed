"""One stage of gpu.sh: `python -m c2llm_lite.benchmarks.lab.gpu rates|big|profile|embed --device cuda --out FOLDER`.

Rows go to FOLDER/STAGE.jsonl as they are measured, the machine first, so that a stage that is stopped leaves what it
found. On a CPU every stage runs on tiny shapes: a dry run, to see whether the code runs.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from c2llm_lite.bundle import BF16, FP32, INT8, NF4

from . import drawn
from .big import big
from .card import Card
from .embed import embed
from .profile import profile
from .rates import Row, rates

LENGTHS = (32, 128, 512, 2048)


def rows(stage: str, card: Card) -> Iterator[Row]:
    """What a stage measures."""
    small, large = (drawn.SHAPES["0.5B"], drawn.SHAPES["7B"]) if card.cuda else (drawn.TINY, drawn.TINY)
    if stage == "rates":
        # The most important first: a time limit cuts the end.
        yield from rates(card, small, LENGTHS if card.cuda else LENGTHS[:2], (BF16, FP32, NF4, INT8))
    elif stage == "big":
        yield from big(card, large, (BF16, NF4, INT8))
    elif stage == "embed":
        yield from embed(card, small)
    else:
        yield from profile(card, small)


def main() -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("rates", "big", "embed", "profile"))
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    card = Card(asked.device)
    asked.out.mkdir(parents=True, exist_ok=True)
    with (asked.out / f"{asked.stage}.jsonl").open("w", encoding="utf-8") as file:

        def put(row: Row) -> None:
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(*(f"{name}={value}" for name, value in row.items()), flush=True)

        put({"stage": asked.stage, "date": datetime.date.today().isoformat()} | card.describe())
        try:
            for row in rows(asked.stage, card):
                put(row)
        except KeyboardInterrupt:  # gpu.sh's limit
            sys.exit("stopped: what was measured is kept")


if __name__ == "__main__":
    main()
