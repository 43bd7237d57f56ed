"""Shared leading tokens are computed once: the vectors do not depend on the prefix's length or earlier batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint

import c2llm_lite
from c2llm_lite.convert import convert
from c2llm_lite.engines import Engine, open_engine
from c2llm_lite.text import shared_tokens

TARGETS = ("gguf:f32", "openvino:fp32")
LENGTHS = (1, 3, 30, 31, 32, 33, 100, 600)  # around a block of OpenVINO's cache, and longer than a pass
TEXTS = ("def f(x):\n    return x", "\nimport os", "): pass", " leading space", "x", "", "def f(x):\n    return x")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    pytest.importorskip("optimum.exporters.openvino")
    folder = tmp_path_factory.mktemp("bundles")
    source = write_checkpoint(folder / "checkpoint")
    return {
        target: convert(source, folder / target.replace(":", "-"), target, target_probes=False).folder
        for target in TARGETS
    }


@pytest.fixture(params=TARGETS)
def engine(request: pytest.FixtureRequest, bundles: dict[str, Path]) -> Iterator[Engine]:
    with c2llm_lite.load(bundles[request.param], threads=1) as model:
        engine = open_engine(model.bundle, device="cpu", threads=1, max_tokens=2048)
        yield engine
        engine.close()


def test_shared_tokens_change_no_mean(engine: Engine) -> None:
    random = np.random.default_rng(0)
    queries = random.standard_normal((4, 64), dtype=np.float32)
    for shared in LENGTHS:
        prefix = random.integers(0, 400, shared).tolist()
        batch = [prefix + random.integers(0, 400, length).tolist() for length in (1, 5, 32, 200, 700)]
        whole = engine.pool(batch, queries)
        np.testing.assert_allclose(engine.pool(batch, queries, shared), whole, atol=1e-5)
        # Held from the batch before, for other texts, in another order.
        np.testing.assert_allclose(engine.pool(batch[::-1], queries, shared), whole[::-1], atol=1e-5)
        np.testing.assert_allclose(engine.pool(batch[2:3], queries, shared), whole[2:3], atol=1e-5)


def test_a_held_prefix_is_not_taken_for_another(engine: Engine) -> None:
    random = np.random.default_rng(1)
    queries, others = random.standard_normal((2, 4, 64), dtype=np.float32)
    first, second = random.integers(0, 400, (2, 40)).tolist()
    engine.pool([first], queries, 10)
    for ids, asked, shared in ((second, queries, 10), (second, others, 10), (first, others, 20), (first, queries, 0)):
        held = engine.pool([ids], asked, shared)
        np.testing.assert_allclose(held, engine.pool([ids], asked), atol=1e-5)
    engine.pool([first], queries, 10)
    states = np.concatenate(list(engine.states(second)))  # takes the cache for itself
    np.testing.assert_allclose(np.concatenate(list(engine.states(second))), states, atol=1e-5)
    np.testing.assert_allclose(engine.pool([first], queries, 10), engine.pool([first], queries), atol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("prompt_name", ["query", "document"])
def test_texts_of_any_beginning_keep_their_vectors(target: str, prompt_name: str, bundles: dict[str, Path]) -> None:
    with c2llm_lite.load(bundles[target]) as model:
        found = model.embed(TEXTS, prompt_name=prompt_name)
        # With the prefix in the text itself, nothing is known to be shared.
        bare = model.embed([model.prompts[prompt_name] + text for text in TEXTS])
    np.testing.assert_allclose(found, bare, atol=1e-5)


def test_only_what_every_text_really_holds_is_shared() -> None:
    prompt = [1, 2, 3]
    assert shared_tokens(prompt, [[1, 2, 3, 4], [1, 2, 3, 5, 6]]) == 3
    assert shared_tokens(prompt, [[1, 2, 3, 4], [1, 2, 9]]) == 2  # a merge across the seam
    assert shared_tokens(prompt, [[1, 2, 3]]) == 2  # a text keeps a token of its own
    assert shared_tokens(prompt, [[1], [1, 2, 3, 4]]) == 0
    assert shared_tokens([], [[1, 2]]) == 0
