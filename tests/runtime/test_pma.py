"""The absorbed head against the plain formulas: whole, streamed, merged, and with a map of the states."""

from __future__ import annotations

import itertools
from typing import get_args

import numpy as np
import pytest
import torch
import transcription
from checkpoints import draw_head
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from c2llm_lite import pma

Array = NDArray[np.float32]
ABSOLUTE = 1e-5  # after normalizing
VARIANTS = list(itertools.product(get_args(pma.Residual), get_args(pma.Scale)))


def draw_states(tokens: int, hidden: int, seed: int) -> Array:
    """States with a direction that all share and one dimension far above the rest, as a language model's have."""
    rng = np.random.default_rng(seed)
    states = rng.standard_normal((tokens, hidden), dtype=np.float32) + rng.standard_normal(hidden, dtype=np.float32)
    states[:, 0] *= 20
    return states


def unit(vector: Array) -> Array:
    found: Array = vector / np.linalg.norm(vector)
    return found


def absorbed(states: Array, tensors: dict[str, Array], variant: pma.Variant) -> Array:
    head = pma.Head(tensors, variant)
    return unit(head.embed(pma.pool(states, head.queries)[None])[0])


def transcribed(states: Array, tensors: dict[str, Array], variant: pma.Variant) -> Array:
    """In float64, so that what differs is the package's rounding alone."""
    weights = {name: torch.from_numpy(tensor).double() for name, tensor in tensors.items()}
    found = transcription.pma(torch.from_numpy(states).double(), weights, *vars(variant).values())
    return unit(found.float().numpy())


@settings(max_examples=60, deadline=None)
@given(
    tokens=st.one_of(st.integers(1, 40), st.integers(1, 4096)),
    heads=st.sampled_from([1, 2, 3, 4, 7, 8, 16, 32, 64]),
    per_head=st.integers(1, 8),
    hidden=st.integers(1, 160),
    variant=st.sampled_from(VARIANTS),
    seed=st.integers(0, 1000),
)
def test_absorbed_equals_the_formulas(
    tokens: int, heads: int, per_head: int, hidden: int, variant: tuple[pma.Residual, pma.Scale], seed: int
) -> None:
    if heads * per_head < 8:
        per_head = 8  # LayerNorm over two or three numbers of nearly one value is rounding and nothing else
    tensors, states = draw_head(hidden, heads * per_head, seed), draw_states(tokens, hidden, seed)
    shape = pma.Variant(heads, *variant)
    np.testing.assert_allclose(absorbed(states, tensors, shape), transcribed(states, tensors, shape), atol=ABSOLUTE)


@pytest.mark.parametrize(("residual", "scale"), VARIANTS)
@pytest.mark.parametrize(("hidden", "width"), [(896, 896), (576, 256)])
def test_at_real_widths(residual: pma.Residual, scale: pma.Scale, hidden: int, width: int) -> None:
    tensors, states = draw_head(hidden, width), draw_states(700, hidden, 1)
    variant = pma.Variant(32, residual, scale)
    np.testing.assert_allclose(absorbed(states, tensors, variant), transcribed(states, tensors, variant), atol=ABSOLUTE)


def test_every_variant_gives_another_vector() -> None:
    tensors, states = draw_head(64, 64), draw_states(50, 64, 2)
    found = [absorbed(states, tensors, pma.Variant(4, *variant)) for variant in VARIANTS]
    for i, first in enumerate(found):
        assert all(np.abs(first - second).max() > 1e-3 for second in found[i + 1 :])


@settings(max_examples=40, deadline=None)
@given(tokens=st.integers(1, 4096), pieces=st.integers(1, 12), seed=st.integers(0, 1000), loud=st.booleans())
def test_streaming_equals_the_whole(tokens: int, pieces: int, seed: int, loud: bool) -> None:
    rng = np.random.default_rng(seed)
    queries = rng.standard_normal((8, 48), dtype=np.float32) * np.float32(100 if loud else 0.2)
    states = draw_states(tokens, 48, seed)
    cuts = np.sort(rng.integers(1, tokens, min(pieces, tokens) - 1)) if tokens > 1 else np.array([], int)
    chunks = [chunk for chunk in np.split(states, cuts) if len(chunk)]
    whole = pma.pool(states, queries)
    tolerance = 1e-5 * np.abs(states).max()

    streamed = pma.PooledSum(queries)
    for chunk in chunks:
        streamed.add(chunk)
    np.testing.assert_allclose(streamed.mean(), whole, atol=tolerance)


def test_a_copy_goes_its_own_way() -> None:
    queries, states = np.eye(4, dtype=np.float32), draw_states(30, 4, 3)
    prefix = pma.PooledSum(queries)
    prefix.add(states[:10])
    text = prefix.copy()
    text.add(states[10:])
    np.testing.assert_allclose(text.mean(), pma.pool(states, queries), rtol=1e-5)
    np.testing.assert_allclose(prefix.mean(), pma.pool(states[:10], queries), rtol=1e-6)


@pytest.mark.parametrize(("residual", "scale"), VARIANTS)
def test_a_map_of_the_states_is_absorbed(residual: pma.Residual, scale: pma.Scale) -> None:
    rng = np.random.default_rng(4)
    tensors, states = draw_head(64, 32), draw_states(200, 64, 4)
    matrix = (np.eye(64) + 0.1 * rng.standard_normal((64, 64))).astype(np.float32)
    bias = rng.standard_normal(64, dtype=np.float32)
    variant = pma.Variant(8, residual, scale)
    head = pma.Head(tensors, variant, pma.AffineMap(matrix, bias))
    found = unit(head.embed(pma.pool(states, head.queries)[None])[0])
    np.testing.assert_allclose(found, transcribed(states @ matrix.T + bias, tensors, variant), atol=ABSOLUTE)


def test_a_batch_is_its_texts_one_by_one() -> None:
    head = pma.Head(draw_head(64, 32), pma.Variant(4))
    pooled = np.stack([pma.pool(draw_states(n, 64, n), head.queries) for n in (1, 5, 100)])
    np.testing.assert_allclose(head.embed(pooled), np.concatenate([head.embed(p[None]) for p in pooled]), atol=1e-5)


def test_no_tokens_have_no_mean() -> None:
    with pytest.raises(ValueError, match="without tokens"):
        pma.PooledSum(np.ones((2, 4), np.float32)).mean()


@pytest.mark.parametrize(
    ("name", "shape", "told"),
    [
        ("S", (32,), r"S has shape \(32,\), not \(1, 1, 32\)"),
        ("mab.fc_k.weight", (32, 63), r"fc_k\.weight has shape \(32, 63\), not \(32, 64\)"),
        ("mab.fc_o.weight", (32, 64), r"fc_o\.weight has shape \(32, 64\), not \(32, 32\)"),
        ("mab.ln1.bias", (31,), r"ln1\.bias has shape \(31,\), not \(32,\)"),
        ("mab.fc_q.bias", (), r"fc_q\.bias has shape \(\)"),
        ("mab.fc_q.bias", (1, 32), r"fc_q\.bias has shape \(1, 32\)"),
    ],
)
def test_a_wrong_shape_is_named(name: str, shape: tuple[int, ...], told: str) -> None:
    shapes = {n: t.shape for n, t in draw_head(64, 32).items()} | {name: shape}
    with pytest.raises(ValueError, match=told):
        pma.check_shapes(shapes, 64, pma.Variant(4))


@pytest.mark.parametrize("heads", [0, -1, 5, 64])
def test_heads_that_do_not_divide_the_width(heads: int) -> None:
    with pytest.raises(ValueError, match=f"cannot be split into {heads} attention heads"):
        pma.Head(draw_head(64, 32), pma.Variant(heads))
