"""The checkpoint with Qwen2's habits has them, and its head makes up for what they change."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoints import write_checkpoint

from c2llm_lite import pma
from c2llm_lite.benchmarks.lab import like_qwen2
from c2llm_lite.convert import reference
from c2llm_lite.convert.checkpoint import Checkpoint, open_checkpoint
from c2llm_lite.convert.proof import probes
from c2llm_lite.vectors import normalize

MOST = 3000.0


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Checkpoint]:
    folder = tmp_path_factory.mktemp("habits")
    write_checkpoint(folder / "plain", layers=5)
    like_qwen2.main(folder / "plain", folder / "like-qwen2", MOST)
    return open_checkpoint(folder / "plain"), open_checkpoint(folder / "like-qwen2")


def test_line_breaks_have_massive_activations(pair: tuple[Checkpoint, Checkpoint]) -> None:
    plain, like = pair
    ids = probes.token_ids(plain)
    largest = {}
    for name, checkpoint in (("plain", plain), ("like", like)):
        found = reference.Largest()
        reference.states(checkpoint, ids, largest=found)
        largest[name] = found.state
    assert largest["plain"] < MOST / 100
    assert MOST / 10 < largest["like"] < 2 * MOST  # random weights tell tokens apart badly


def test_keys_of_the_first_and_last_layer_have_the_largest_biases(pair: tuple[Checkpoint, Checkpoint]) -> None:
    _, like = pair
    biases = [np.abs(like.tensor(f"layers.{number}.self_attn.k_proj.bias")).max() for number in range(5)]
    assert min(biases[0], biases[-1]) > 2 * max(biases[1:-1])
    assert max(biases) <= like_qwen2.KEY_BIAS + 1


def test_biases_of_values_reach_no_state(pair: tuple[Checkpoint, Checkpoint]) -> None:
    plain, like = pair
    ids = probes.token_ids(like)
    names = [f"layers.{number}.self_attn.v_proj.bias" for number in range(5)]
    assert all(np.abs(like.tensor(name)).max() > like_qwen2.VALUE_BIAS / 2 for name in names)
    without = like_qwen2.Changed(like, {name: plain.tensor(name) for name in names})
    for ours, theirs in zip(reference.states(like, ids), reference.states(without, ids), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_the_head_makes_up_for_what_changed(pair: tuple[Checkpoint, Checkpoint]) -> None:
    plain, like = pair
    ids = probes.token_ids(plain)
    wanted = reference.vectors(plain, ids)
    head = pma.Head(plain.head(), plain.variant)
    unfitted = normalize(head.embed(np.stack([pma.pool(x, head.queries) for x in reference.states(like, ids)])))
    before, after = (float(np.sum(found * wanted, axis=1).mean()) for found in (unfitted, reference.vectors(like, ids)))
    assert 1 - after < (1 - before) / 2
