"""The head's trainer: its states are the backbone's, and it trains the head that is run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint

from c2llm_lite.pma import Array, Head, Variant, pool
from c2llm_lite.vectors import normalize

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

# After importorskip: these import torch.
from c2llm_lite.benchmarks.standin import head_training  # noqa: E402
from c2llm_lite.benchmarks.standin.head_training import Texts, TrainableHead, train  # noqa: E402
from c2llm_lite.benchmarks.standin.states import write_states  # noqa: E402

HIDDEN = 64


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The matrices are small: threads would cost more than they bring."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_states_are_the_backbones(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    checkpoint = write_checkpoint(tmp_path / "checkpoint", hidden=HIDDEN)
    ids = [[3, 1, 4, 1, 5, 9, 2, 6], [7], [2, 7, 1, 8, 2]]
    write_states(checkpoint, ids, tmp_path / "states.npy")
    config = json.loads((checkpoint / "config.json").read_text())
    model = transformers.Qwen2Model(transformers.Qwen2Config(**{k: v for k, v in config.items() if k != "model_type"}))
    weights = load_file(checkpoint / "model.safetensors")
    prefix = "plm_model.model."
    model.load_state_dict({n.removeprefix(prefix): w.float() for n, w in weights.items() if n.startswith(prefix)})
    with torch.inference_mode():
        wanted = np.concatenate([model(torch.tensor([text])).last_hidden_state[0].numpy() for text in ids])
    found = np.load(tmp_path / "states.npy").astype(np.float32)
    cosines = (normalize(found) * normalize(wanted)).sum(axis=1)
    assert cosines.min() > 0.999  # bf16


def test_rounded_weights_give_other_states(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "checkpoint", hidden=HIDDEN)
    for rounded in (False, True):
        write_states(checkpoint, [[3, 1, 4, 1, 5]], tmp_path / f"{rounded}.npy", rounded=rounded)
    whole, moved = (np.load(tmp_path / f"{rounded}.npy").astype(np.float32) for rounded in (False, True))
    assert 0.005 < np.square(moved - whole).sum() / np.square(whole).sum() < 0.2


def texts(random: np.random.Generator, meanings: Array) -> Texts:
    """Texts of 3 to 9 noisy tokens around a meaning each, in a space where some dimensions are far larger."""
    lengths = random.integers(3, 10, len(meanings))
    states = np.repeat(meanings, lengths, axis=0) + random.normal(0, 0.5, (lengths.sum(), HIDDEN))
    states = states * np.logspace(0, 1.5, HIDDEN) + 2
    return Texts(states.astype(np.float16), np.cumsum([0, *lengths]))


def embed(head: Head, some: Texts) -> Array:
    ends = zip(some.starts[:-1], some.starts[1:], strict=True)
    return normalize(head.embed(np.stack([pool(some.states[a:b].astype(np.float32), head.queries) for a, b in ends])))


def test_the_trained_form_is_the_head_that_is_run() -> None:
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    some = texts(random, random.normal(0, 1, (5, HIDDEN)).astype(np.float32))
    head = TrainableHead(torch.randn(HIDDEN), torch.randn(HIDDEN, HIDDEN) / 20).eval()
    with torch.inference_mode():
        trained = head(*some.padded(np.arange(5))).numpy()
        tensors = {name: tensor.numpy() for name, tensor in head.tensors().items()}
    run = embed(Head(tensors, Variant(heads=head_training.HEADS)), some)
    np.testing.assert_allclose(run, trained, atol=1e-5)


def test_training_learns_to_find(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_training, "STEPS", 150)
    monkeypatch.setattr(head_training, "BATCH", 64)
    monkeypatch.setattr(head_training, "LEARNING_RATE", 3e-3)
    random = np.random.default_rng(0)
    meanings = random.normal(0, 1, (2, 500, HIDDEN)).astype(np.float32)
    meanings[1, :, :24] = meanings[0, :, :24]  # all that code shares with its query
    queries, codes = texts(random, meanings[0]), texts(random, meanings[1])
    losses: list[float] = []
    noise = np.zeros((20, HIDDEN), np.float16)
    head = Head(
        train(queries, codes, noise, lambda step, loss: losses.append(loss)), Variant(heads=head_training.HEADS)
    )
    assert losses[-1] < losses[0] / 10
    found = (embed(head, queries) @ embed(head, codes).T).argmax(axis=1)
    assert (found == np.arange(500)).mean() > 0.8
