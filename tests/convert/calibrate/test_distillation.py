"""The head in absorbed form: its gradients, its way back to stored tensors, and what training wins."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from checkpoints import draw_head

from c2llm_lite import pma
from c2llm_lite.convert.calibrate import distillation
from c2llm_lite.convert.calibrate.absorbed_head import Pass, parameters, stored
from c2llm_lite.convert.calibrate.distillation import Texts, distill, embeddings, loss
from c2llm_lite.pma import Array, Residual, Scale, Variant

HIDDEN, WIDTH, HEADS = 12, 16, 4
LENGTHS = (3, 1, 7, 5)
STEP = 1e-6


def head(residual: Residual = "query", scale: Scale = "width", seed: int = 0) -> tuple[dict[str, Array], pma.Head]:
    tensors = draw_head(HIDDEN, WIDTH, seed)
    return tensors, pma.Head(tensors, Variant(HEADS, residual, scale))


def texts(*lengths: int, seed: int = 0) -> list[Array]:
    draws = np.random.default_rng(seed)
    return [draws.standard_normal((length, HIDDEN), dtype=np.float32) for length in lengths]


def test_the_forward_is_the_head_s() -> None:
    _, given = head()
    states = texts(*LENGTHS)
    wanted = given.embed(np.stack([pma.pool(text, given.queries) for text in states]))
    np.testing.assert_allclose(Pass(parameters(given), given.residual, states).embeddings, wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", list(parameters(head()[1])))
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    _, given = head()
    residual = given.residual.astype(np.float64)
    exact = {key: values.astype(np.float64) for key, values in parameters(given).items()}
    states = [text.astype(np.float64) for text in texts(*LENGTHS)]
    wanted = embeddings(head(seed=1)[1], texts(*LENGTHS, seed=1)).astype(np.float64)

    def of(changed: dict[str, np.ndarray]) -> float:
        return loss(Pass(changed, residual, states).embeddings, wanted)[0]  # type: ignore[arg-type]

    ran = Pass(exact, residual, states)  # type: ignore[arg-type]
    found = ran.gradients(loss(ran.embeddings, wanted)[1])[name]
    assert found.shape == exact[name].shape
    for place in np.random.default_rng(0).choice(found.size, size=min(6, found.size), replace=False):
        at = np.unravel_index(place, found.shape)
        ends = []
        for step in (STEP, -STEP):
            changed = {key: values.copy() for key, values in exact.items()}
            changed[name][at] += step
            ends.append(of(changed))
        assert found[at] == pytest.approx((ends[0] - ends[1]) / (2 * STEP), rel=1e-4, abs=1e-8)


@pytest.mark.parametrize(("residual", "scale"), list(itertools.product(("query", "seed"), ("width", "head", "none"))))
def test_stored_tensors_embed_as_the_trained_head(residual: Residual, scale: Scale) -> None:
    tensors, given = head(residual, scale)
    draws = np.random.default_rng(1)
    trained = {
        name: values + 0.1 * draws.standard_normal(values.shape, dtype=np.float32)
        for name, values in parameters(given).items()
    }
    states = texts(*LENGTHS)
    wanted = Pass(trained, given.residual, states).embeddings
    again = pma.Head(stored(tensors, given, trained), given.variant)
    found = again.embed(np.stack([pma.pool(text, again.queries) for text in states]))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def shallower(seed: int, count: int) -> tuple[list[Array], list[Array]]:
    """States of a full model, and those of a shallower one: not a linear map of them."""
    full = texts(*np.random.default_rng(seed).integers(2, 9, count), seed=seed)
    turn = texts(HIDDEN, seed=99)[0] / HIDDEN**0.5
    return [np.sin(2 * (text @ turn)) for text in full], full


def test_training_brings_unseen_texts_nearer_and_repeats_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distillation, "RATE", 3e-3)
    monkeypatch.setattr(distillation, "BATCH", 24)
    _, teacher = head()
    (states, full), (other, other_full) = shallower(0, 200), shallower(1, 40)
    _, start = head(seed=1)
    fitted, judging = Texts(states, embeddings(teacher, full)), Texts(other, embeddings(teacher, other_full))
    steps: list[int] = []
    first, second = (distill(start, fitted, judging, steps.append) for _ in range(2))
    assert len(steps) == 2 * distillation.STEPS
    assert first.loss < 0.7 * first.loss_before
    unseen, unseen_full = shallower(2, 40)
    wanted = embeddings(teacher, unseen_full)
    trained = Pass(first.parameters, start.residual, unseen).embeddings
    assert loss(trained, wanted)[0] < 0.8 * loss(embeddings(start, unseen), wanted)[0]
    for name, values in first.parameters.items():
        np.testing.assert_array_equal(values, second.parameters[name])


def test_a_head_that_training_makes_worse_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distillation, "RATE", 1)
    (_, given), (_, other) = head(), head(seed=1)
    fitted, judging = texts(*range(2, 12)), texts(4, 5, seed=1)
    found = distill(given, Texts(fitted, embeddings(other, fitted)), Texts(judging, embeddings(given, judging)), id)
    assert found.loss == found.loss_before
    for name, values in parameters(given).items():
        np.testing.assert_array_equal(found.parameters[name], values)


@pytest.mark.parametrize("count", [1, 2])
def test_a_batch_without_a_choice_has_a_loss(count: int) -> None:
    _, given = head()
    states = texts(*LENGTHS[:count])
    found, gradient = loss(embeddings(given, states), embeddings(given, states))
    assert found == pytest.approx(0, abs=1e-6)
    assert np.isfinite(gradient).all()
