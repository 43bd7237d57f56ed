"""Which target to take: what is within 1% of full precision, the smallest and fastest of it, and what does not."""

from __future__ import annotations

from typing import Any

from .hardware import cores

MEASURE = "ndcg@10"
WITHIN = 0.01  # of the reference's NDCG@10, on average over tasks
# Below this, what was lost outweighs what a smaller file or more speed wins; between the two, the user weighs them.
LEAST_KEPT = 0.95
# Below these the vectors are no longer this model's, whatever they still find: the mean cosine to full precision, and
# the correlation of ranks, which also tells where all of a model's vectors lie close together.
LEAST_COSINE = LEAST_CORRELATION = 0.9
DOCUMENT = 128  # tokens of the document whose rate decides


def kept(result: dict[str, Any], row: dict[str, Any]) -> float:
    """The share of the reference's NDCG@10 that the target keeps, on average over tasks; 1 for the reference."""
    full = result["rows"][0]["tasks"]
    shares = [
        found["scores"][MEASURE] / max(full[name]["scores"][MEASURE], 1e-9) for name, found in row["tasks"].items()
    ]
    return float(sum(shares) / len(shares))


def timed(result: dict[str, Any]) -> bool:
    """Whether every row's speed was measured."""
    return all(row["latency"] is not None for row in result["rows"])


def rate(row: dict[str, Any]) -> float:
    """Documents of 128 tokens a second; of the longest measured, where a model takes no more."""
    lengths = row["latency"]["by_length"]
    chosen = lengths.get(str(DOCUMENT)) or lengths[max(lengths, key=int)]
    return float(chosen["documents_per_second"])


def warnings(result: dict[str, Any], row: dict[str, Any]) -> list[str]:
    """What is wrong with a target's accuracy, in words; nothing for one that can be trusted."""
    found = []
    share = kept(result, row)
    if share < 1 - WITHIN:
        found.append(f"keeps {100 * share:.1f}% of full precision's NDCG@10")
    nearness = _fidelities(row)
    if any(map(_far, nearness)):
        cosine, correlation = (min(near[key] for near in nearness) for key in ("cosine_mean", "rank_correlation"))
        told = f"mean cosine {cosine:.3f}, correlation of ranks {correlation:.3f}"
        told += f", the lowest of {len(nearness)} tasks" if len(nearness) > 1 else ""
        found.append(f"gives vectors far from full precision's ({told})")
    return found


def unfit(result: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether a target is not to be taken at all: found by far less, or its vectors are no longer this model's."""
    return kept(result, row) < LEAST_KEPT or any(map(_far, _fidelities(row)))


def _fidelities(row: dict[str, Any]) -> list[dict[str, Any]]:
    """How near vectors are to full precision's, by task; of no meaning where fewer layers make a space of their own."""
    return [] if "layers" in row else [task["fidelity"] for task in row["tasks"].values() if "fidelity" in task]


def _far(near: dict[str, Any]) -> bool:
    return bool(near["cosine_mean"] < LEAST_COSINE or near["rank_correlation"] < LEAST_CORRELATION)


def front(result: dict[str, Any]) -> list[str]:
    """The targets that no other beats in both accuracy and rate, slowest first; none without timings."""
    if not timed(result):
        return []
    by_rate = sorted(result["rows"], key=lambda row: (-rate(row), -kept(result, row)))
    best, found = float("-inf"), []
    for row in by_rate:
        if kept(result, row) > best:
            best = kept(result, row)
            found.append(str(row["target"]))
    return found[::-1]


def recommendation(result: dict[str, Any]) -> list[str]:
    """Sentences in plain words."""
    reference, *others = result["rows"]
    good = [row for row in others if not warnings(result, row)]
    told = []
    if good:
        smallest = min(good, key=lambda row: row["bytes"])
        told.append(
            f"**The smallest that stays within 1% is {smallest['target']}**: {smallest['bytes'] / 1e6:,.0f} MB against "
            f"{reference['bytes'] / 1e6:,.0f} MB for {reference['target']}."
        )
    if good and timed(result):
        fastest = max(good, key=rate)
        told.append(
            f"**The fastest that stays within 1% is {fastest['target']}**: {rate(fastest):.1f} documents of {DOCUMENT} "
            f"tokens a second, {rate(fastest) / rate(reference):.1f} times {reference['target']}."
        )
    if not good:
        told.append("**No target stays within 1% of full precision**: run the checkpoint in full, or try calibration.")
    for row in others:
        found = warnings(result, row)
        if found:
            verdict = "Do not take {} as it is" if unfit(result, row) else "{} costs more than 1%"
            told.append(f"{verdict.format(row['target'])}: it {' and '.join(found)}.")
    return told


def not_measured(result: dict[str, Any]) -> list[str]:
    """Sentences on what this report does not say."""
    on = result["on"]
    told = [f"{target} could not be measured: {reason}" for target, reason in result["failed"].items()]
    if not any("cuda" in row["target"] for row in result["rows"]):
        told.append(
            "A GPU: full precision ran on this machine's CPU (`--reference cuda` takes a GPU where there is one)."
        )
    if not timed(result):
        told.append("Speed and memory: no timings were asked for, or a row has none.")
    told.append(f"Any machine but this: {cores(on)} of {on['cpu']}. Another CPU ranks the targets otherwise.")
    told.append(f"Any data but {', '.join(result['tasks'])}. Your own code in BEIR's form is the better judge.")
    return told
