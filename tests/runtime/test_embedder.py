"""embed()'s whole contract, on a small gguf:f32 bundle."""

from __future__ import annotations

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import c2llm_lite
from c2llm_lite import machine
from c2llm_lite.convert import reference
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.errors import BundleError, DeviceError, OutOfMemoryError, TextError
from c2llm_lite.text import Tokeniser, prompts

TEXTS = [
    "def read(path):\n    with open(path) as file:\n        return file.read()\n",
    "x",
    "\n",
    "how to read a file in python",
    "class Stack:\n    def push(self, item):\n        self.items.append(item)\n" * 20,
    "(a, b)",
]


@pytest.fixture(scope="module")
def model(f32_bundle):
    with c2llm_lite.load(f32_bundle) as loaded:
        yield loaded


@pytest.mark.parametrize("prompt_name", [None, "query", "document", "CosQA-query"])
def test_vectors_are_the_checkpoint_s_own(model, checkpoint_folder, prompt_name):
    checkpoint = open_checkpoint(checkpoint_folder)
    prefix = prompts()[prompt_name] if prompt_name else ""
    ids = Tokeniser(checkpoint.tokenizer_file, checkpoint.max_tokens).encode(TEXTS, prefix)
    np.testing.assert_allclose(
        model.embed(TEXTS, prompt_name=prompt_name), reference.vectors(checkpoint, ids), atol=1e-5
    )


def test_one_text_gives_a_vector_and_none_give_an_empty_matrix(model):
    assert model.embed("x").shape == (model.dim,)
    assert model.embed(["x"]).shape == (1, model.dim)
    assert model.embed([]).shape == (0, model.dim)
    assert model.embed(iter(TEXTS)).shape == (len(TEXTS), model.dim)
    assert model.embed("x").dtype == np.float32


def test_company_and_order_change_nothing(model):
    alone = np.stack([model.embed(text) for text in TEXTS])
    np.testing.assert_allclose(model.embed(TEXTS), alone, atol=1e-5)
    np.testing.assert_allclose(model.embed(TEXTS[::-1])[::-1], alone, atol=1e-5)
    crowd = TEXTS * 3 + ["something else entirely"] * 5
    np.testing.assert_allclose(model.embed(crowd)[: len(TEXTS)], alone, atol=1e-5)


def test_identical_texts_are_run_once(model, monkeypatch):
    run = []
    pool = type(model._engine).pool
    monkeypatch.setattr(
        type(model._engine), "pool", lambda self, batch, *rest: run.extend(batch) or pool(self, batch, *rest)
    )
    vectors = model.embed(["x", "yes", "x", "x"])
    assert len(run) == 2
    np.testing.assert_array_equal(vectors[0], vectors[2])


def test_threads_may_share_a_model(model):
    alone = model.embed(TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(lambda _: model.embed(TEXTS), range(8)):
            np.testing.assert_allclose(vectors, alone, atol=1e-5)


def test_a_literal_prompt_equals_the_text_with_it(model):
    np.testing.assert_allclose(model.embed("def f()", prompt="Q: "), model.embed("Q: def f()"), atol=1e-6)


def test_normalize_off_gives_the_head_s_own_vector(model):
    raw = model.embed(TEXTS, normalize=False)
    assert np.abs(np.linalg.norm(raw, axis=1) - 1).min() > 0.1
    np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), model.embed(TEXTS), atol=1e-6)


def test_dim_keeps_the_first_components_and_warns_once(f32_bundle, caplog):
    with c2llm_lite.load(f32_bundle) as fresh, caplog.at_level(logging.WARNING, "c2llm_lite"):
        narrow, whole = fresh.embed(TEXTS, dim=16), fresh.embed(TEXTS, normalize=False)
        fresh.embed(TEXTS, dim=8)
    first = whole[:, :16]
    np.testing.assert_allclose(narrow, first / np.linalg.norm(first, axis=1, keepdims=True), atol=1e-6)
    assert len([r for r in caplog.records if "not trained for this" in r.message]) == 1


def test_precisions(model):
    vectors = model.embed(TEXTS)
    coded = model.embed(TEXTS, precision="int8")
    assert coded.dtype == np.int8
    np.testing.assert_array_equal(np.abs(coded).max(axis=1), 127)
    np.testing.assert_array_equal(model.embed(TEXTS, precision="binary"), np.packbits(vectors > 0, axis=1))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"texts": ["x", ""]}, TextError, "text 1 is empty"),
        ({"texts": ["x", 3]}, TextError, "text 1 is a int, not a string"),
        ({"texts": "\udc80"}, TextError, "text 0 is not valid Unicode"),
        ({"texts": b"x"}, TextError, "texts is a bytes: give a string, or a sequence of strings"),
        ({"texts": {"x": 1}}, TextError, "texts is a dict"),
        ({"texts": 5}, TextError, "texts is a int"),
        ({"texts": "x", "dim": 65}, ValueError, "this model's vectors have 64 components: give 1 to 64"),
        ({"texts": "x", "dim": 0}, ValueError, "give 1 to 64"),
        ({"texts": "x", "precision": "int4"}, ValueError, "precision is 'int4'"),
        ({"texts": "x", "prompt_name": "qurey"}, ValueError, "no prompt is named 'qurey'"),
        ({"texts": "x", "prompt_name": "query", "prompt": "Q"}, ValueError, "not both"),
    ],
)
def test_bad_arguments_are_told_and_leave_the_model_well(model, arguments, error, message):
    before = model.embed("x")
    with pytest.raises(error, match=message):
        model.embed(**arguments)
    np.testing.assert_array_equal(model.embed("x"), before)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"threads": 0}, ValueError, "threads is 0"),
        ({"max_tokens": 0}, ValueError, "max_tokens is 0; this model takes 1 to 8192"),
        ({"max_tokens": 10**6}, ValueError, "this model takes 1 to 8192"),
        ({"device": "cuda"}, DeviceError, "a gguf bundle runs on the CPU"),
    ],
)
def test_bad_ways_to_load_are_told(f32_bundle, arguments, error, message):
    with pytest.raises(error, match=message):
        c2llm_lite.load(f32_bundle, **arguments)


def test_a_bundle_that_would_not_fit_is_refused_before_it_is_read(f32_bundle, monkeypatch):
    monkeypatch.setattr(machine, "free_memory", lambda: 1000)
    with pytest.raises(
        OutOfMemoryError, match="0 MiB are free: free some, or convert the checkpoint to a smaller target"
    ):
        c2llm_lite.load(f32_bundle)


def test_a_nan_is_never_returned(model, monkeypatch):
    monkeypatch.setattr(
        type(model._engine), "pool", lambda self, b, q, _: np.full((len(b), *q.shape), np.nan, np.float32)
    )
    with pytest.raises(BundleError, match="gave NaN or infinity: run `c2llm-lite verify`"):
        model.embed("x")


def test_a_closed_model_says_so(f32_bundle):
    model = c2llm_lite.load(f32_bundle)
    model.close()
    model.close()
    with pytest.raises(ValueError, match="this Embedder was closed"):
        model.embed("x")


def test_max_tokens_cuts(f32_bundle, model):
    with c2llm_lite.load(f32_bundle, max_tokens=4) as short:
        assert short.max_tokens == 4
        assert np.abs(short.embed(TEXTS[4]) - model.embed(TEXTS[4])).max() > 1e-3


def test_info_names_source_target_and_engine(model):
    info = model.info()
    assert info["target"] == "gguf:f32"
    assert info["source"]["name"] == "small"
    assert info["engine"]["threads"] == machine.cores()


def test_states_come_in_chunks_and_pool_to_the_vector(model):
    states = np.concatenate(list(model.states(TEXTS[4])))
    from c2llm_lite import pma

    pooled = pma.pool(states, model._head.queries)[None]
    raw = model._head.embed(pooled)[0]
    np.testing.assert_allclose(raw / np.linalg.norm(raw), model.embed(TEXTS[4]), atol=1e-5)


def test_importing_loads_no_engine():
    heavy = ("torch", "transformers", "llama_cpp", "openvino", "rich", "typer", "gguf")
    code = f"import c2llm_lite, sys; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("prompt", ["", "Retrieved Answer:"])
def test_token_ids_give_the_head_s_own_vectors_of_their_texts(model, prompt):
    ids = model.tokenise(TEXTS, prompt=prompt)
    expected = model.embed(TEXTS, prompt=prompt, normalize=False)
    np.testing.assert_array_equal(model.embed_tokens(ids, prompt=prompt), expected)
    assert model.embed_tokens([]).shape == (0, model.dim)


def test_a_long_text_is_refused_where_it_may_not_be_cut(model):
    assert len(model.tokenise(["x " * 5000])[0]) == model.max_tokens
    with pytest.raises(TextError, match=r"text 8 has .* tokens .* 2,048: cut it into pieces"):
        model.tokenise(["x", "x " * 5000], first_index=7, cut=False)


def test_progress_can_be_a_function(model):
    shares = []
    model.embed([f"def f{i}(x): return x + {i}" * 20 for i in range(20)], progress=shares.append)
    assert len(shares) > 1
    assert shares == sorted(shares)
    assert shares[-1] == 1
