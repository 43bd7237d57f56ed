"""The trainer of the stand-in's updates: its forward is the merged checkpoint's, its gradients are autograd's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from c2llm_lite.convert.standin.updates import merge
from c2llm_lite.pma import Array, Head, Variant, pool
from c2llm_lite.vectors import normalize

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

# After importorskip: these import torch.
from c2llm_lite.benchmarks.standin import adapters, update_training  # noqa: E402
from c2llm_lite.benchmarks.standin.adapters import AdaptedBackbone, LowRank, _product  # noqa: E402
from c2llm_lite.benchmarks.standin.head_training import HEADS, TrainableHead  # noqa: E402
from c2llm_lite.benchmarks.standin.update_training import Model, Training, padded, small_batches  # noqa: E402
from c2llm_lite.benchmarks.standin.whitened_head import states_and_noise, whitened  # noqa: E402

HIDDEN, LAYERS, KV = 64, 3, 32
CONFIG = {
    "vocab_size": 300,
    "hidden_size": HIDDEN,
    "intermediate_size": 96,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(adapters, "TRAINED_LAYERS", 2)
    monkeypatch.setattr(adapters, "RANK", 4)
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def random_weights() -> dict[str, Array]:
    model = transformers.LlamaModel(transformers.LlamaConfig(**CONFIG))
    return {name: tensor.detach().numpy() * 2 for name, tensor in model.named_parameters()}


def moved_backbone(weights: dict[str, Array]) -> AdaptedBackbone:
    backbone = AdaptedBackbone(weights, CONFIG)
    with torch.no_grad():
        for update in backbone.updates.values():
            update.b.normal_(std=0.2)
    backbone.merge()
    return backbone


def test_states_are_those_of_the_merged_weights() -> None:
    weights = random_weights()
    backbone = moved_backbone(weights)
    assert {name.split(".")[1] for name in backbone.updates} == {"1", "2"}
    merge(weights, Model(backbone, head()).tensors()[0])
    model = transformers.LlamaModel(transformers.LlamaConfig(**CONFIG))
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    ids = torch.randint(0, 300, (3, 20))
    with torch.inference_mode():
        wanted = model(ids).last_hidden_state.numpy()
        found = backbone.states(ids).float().numpy()
    cosines = (normalize(found.reshape(-1, HIDDEN)) * normalize(wanted.reshape(-1, HIDDEN))).sum(axis=1)
    assert cosines.mean() > 0.999  # bf16
    assert cosines.min() > 0.99


def test_gradients_of_the_factors_are_autograd_s() -> None:
    matrix = LowRank(torch.randn(24, 16) / 4)
    with torch.no_grad():
        matrix.b.normal_(std=0.3)
    matrix.merge()
    x, dy = torch.randn(50, 16), torch.randn(50, 24)
    half = x.bfloat16().requires_grad_()
    _product(half, matrix).backward(dy.bfloat16())

    plain = x.clone().requires_grad_()
    a, b = (factor.detach().clone().requires_grad_() for factor in (matrix.a, matrix.b))
    (plain @ (matrix.weight.float() + adapters.SCALE * b @ a).T).backward(dy)
    for found, wanted in ((half.grad, plain.grad), (matrix.a.grad, a.grad), (matrix.b.grad, b.grad)):
        assert (found.float() - wanted).norm() < 0.02 * wanted.norm()  # bf16


def head() -> TrainableHead:
    return TrainableHead(torch.randn(HIDDEN), torch.randn(HIDDEN, HIDDEN) / 8)


def test_a_head_keeps_its_vectors_when_it_is_whitened() -> None:
    backbone = moved_backbone(random_weights())
    first = head().eval()
    tensors = {name: tensor.detach().numpy() for name, tensor in first.tensors().items()}
    texts = [torch.randint(0, 300, (30,)).tolist() for _ in range(20)]
    states, noise = states_and_noise(backbone, random_weights(), texts)
    assert states.shape == (600, HIDDEN) == noise.shape
    assert np.abs(noise).max() > 0
    some = states.view(20, 30, HIDDEN)
    inside = torch.ones(20, 30, dtype=torch.bool)
    with torch.inference_mode():
        found, wanted = whitened(states, noise, tensors).eval()(some, inside), first(some, inside)
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=1e-3)


def test_small_batches_hold_every_text_once_and_little_padding() -> None:
    lengths = np.random.default_rng(0).integers(3, 90, 200)
    batches = small_batches([[0] * length for length in lengths])
    assert sorted(i for batch in batches for i in batch) == list(range(200))
    sizes = [len(batch) * max(lengths[i] for i in batch) for batch in batches]
    assert max(sizes) <= update_training.BATCH_TOKENS
    assert sum(sizes) < 1.2 * lengths.sum()


def texts_of(step: int) -> tuple[list[list[int]], list[list[int]]]:
    """Queries and codes that share half their tokens."""
    random = np.random.default_rng(step % 4)
    shared = random.integers(0, 300, (8, 5)).tolist()
    sides = ([[*words, *random.integers(0, 300, 5).tolist()] for words in shared] for _ in range(2))
    return next(sides), next(sides)


def training(folder: Path, steps: int) -> Training:
    torch.manual_seed(0)
    weights = random_weights()
    backbone = AdaptedBackbone(weights, CONFIG)
    return Training(Model(backbone, head().train()), np.zeros((50, HIDDEN), np.float16), steps, folder / "kept.pt")


def test_training_moves_updates_and_head_and_continues_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update_training, "SAVED_EVERY", 0.0)
    monkeypatch.setattr(update_training, "HEAD_RATE", 3e-3)
    monkeypatch.setattr(update_training, "UPDATES_RATE", 3e-3)
    losses: dict[int, float] = {}

    class StoppedError(Exception):
        pass

    def stop(step: int, loss: float) -> None:
        losses[step] = loss
        if step == 25:
            raise StoppedError

    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = training(tmp_path / "whole", 40)
    whole.run(texts_of, losses.__setitem__)
    assert losses[40] < 0.5 * losses[1]
    with pytest.raises(StoppedError):
        training(tmp_path / "parts", 40).run(texts_of, stop)
    second = training(tmp_path / "parts", 40)
    assert second.step == 25
    second.run(texts_of, lambda step, loss: None)
    for ours, theirs in zip(second.model.tensors(), whole.model.tensors(), strict=True):
        for name in ours:
            np.testing.assert_allclose(ours[name], theirs[name], atol=2e-2, err_msg=name)
    assert all(np.abs(array).max() > 0.001 for name, array in second.model.tensors()[0].items() if name.endswith(".b"))


def test_vectors_are_the_run_head_s(tmp_path: Path) -> None:
    model = training(tmp_path, 1).model
    texts = texts_of(0)[0]
    found = model.vectors(texts)
    ids, inside = padded(texts)
    with torch.no_grad():
        states = model.backbone.states(ids).float().numpy()
    ready = Head(model.tensors()[1], Variant(heads=HEADS))
    pooled = np.stack([pool(s[i.numpy()], ready.queries) for s, i in zip(states, inside, strict=True)])
    np.testing.assert_allclose(found, normalize(ready.embed(pooled)), atol=1e-4)
