"""Which targets a report recommends, leaves to the user, and warns of."""

from __future__ import annotations

from typing import Any

import pytest

from c2llm_lite.benchmarks.bench.verdict import recommendation


def row(target: str, score: float, cosine: float | None) -> dict[str, Any]:
    task: dict[str, Any] = {"scores": {"ndcg@10": score}}
    if cosine is not None:
        task["fidelity"] = {"cosine_mean": cosine, "rank_correlation": 0.99}
    latency = {"by_length": {"128": {"documents_per_second": 5.0}}}
    return {"target": target, "tasks": {"pairs": task}, "bytes": 1_000_000, "latency": latency}


@pytest.mark.parametrize(
    ("score", "cosine", "told"),
    [
        (0.596, 0.99, None),
        (0.58, 0.96, "here costs more than 1%: it keeps 96.7% of full precision's NDCG@10."),
        (0.55, 0.96, "Do not take here as it is: it keeps 91.7% of full precision's NDCG@10."),
        (0.60, 0.89, "Do not take here as it is: it gives vectors far from full precision's"),
    ],
)
def test_what_is_said_of_a_target(score: float, cosine: float, told: str | None) -> None:
    said = recommendation({"rows": [row("full", 0.6, None), row("here", score, cosine)]})
    warned = [sentence for sentence in said if "Do not take" in sentence or "costs more" in sentence]
    assert [sentence.startswith(told or "") for sentence in warned] == ([True] if told else [])


def test_fewer_layers_are_judged_by_what_they_find_alone() -> None:
    shallow = row("shallow@20", 0.597, 0.7) | {"layers": 20}
    said = recommendation({"rows": [row("full", 0.6, None), shallow]})
    assert not any("far from" in sentence for sentence in said)
    assert any("smallest that stays within 1% is shallow@20" in sentence for sentence in said)


def test_of_several_tasks_the_lowest_are_told_once() -> None:
    here = row("here", 0.6, 0.89)
    here["tasks"]["others"] = {"scores": {"ndcg@10": 0.6}, "fidelity": {"cosine_mean": 0.95, "rank_correlation": 0.93}}
    full = row("full", 0.6, None)
    full["tasks"]["others"] = {"scores": {"ndcg@10": 0.6}}
    (told,) = [sentence for sentence in recommendation({"rows": [full, here]}) if "far from" in sentence]
    assert told.count("far from") == 1
    assert "(mean cosine 0.890, correlation of ranks 0.930, the lowest of 2 tasks)" in told
