"""embed()'s contract, on a small gguf:f32 bundle."""

from __future__ import annotations

import logging
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import c2llm_lite
from c2llm_lite import bundle as bundles
from c2llm_lite import machine
from c2llm_lite.convert import reference
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.errors import BundleError, DeviceError, OutOfMemoryError, TextError
from c2llm_lite.machine import MOST_THREADS
from c2llm_lite.text import TextTokenizer, prompts

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
    ids = TextTokenizer(checkpoint.tokenizer_file, checkpoint.max_tokens).encode(TEXTS, prefix)
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
        ({"texts": b"x"}, TextError, "texts is a bytes; pass a string or a sequence of strings"),
        ({"texts": {"x": 1}}, TextError, "texts is a dict"),
        ({"texts": 5}, TextError, "texts is a int"),
        ({"texts": "x", "dim": 65}, ValueError, "this model's vectors have 64 components, so pass 1 to 64"),
        ({"texts": "x", "dim": 0}, ValueError, "pass 1 to 64"),
        ({"texts": "x", "precision": "int4"}, ValueError, "precision is 'int4'"),
        ({"texts": "x", "prompt_name": "qurey"}, ValueError, "no prompt is named 'qurey'"),
        ({"texts": "x", "prompt_name": "query", "prompt": "Q"}, ValueError, "exclude each other"),
        ({"texts": "x", "prompt_name": ["query"]}, ValueError, r"no prompt is named \['query'\]"),
        ({"texts": "x", "prompt": "\ud800"}, TextError, "the prompt is not valid Unicode: lone surrogate"),
        ({"texts": "x", "prompt": 5}, TextError, "the prompt is a int, not a string"),
        ({"texts": "x", "dim": 1.0}, ValueError, r"dim is 1\.0; .* pass 1 to 64"),
        ({"texts": "x", "dim": True}, ValueError, "dim is True"),
        ({"texts": "x", "dim": "3"}, ValueError, "dim is '3'"),
        ({"texts": np.array("x")}, TextError, "texts is a ndarray; pass a string"),
    ],
)
def test_bad_arguments_are_reported_and_leave_the_model_well(model, arguments, error, message):
    before = model.embed("x")
    with pytest.raises(error, match=message):
        model.embed(**arguments)
    np.testing.assert_array_equal(model.embed("x"), before)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"threads": 0}, ValueError, "threads is 0"),
        ({"threads": 1_000_000}, ValueError, f"threads is 1000000; pass an integer from 1 to {MOST_THREADS}$"),
        ({"threads": MOST_THREADS + 1}, ValueError, f"pass an integer from 1 to {MOST_THREADS}$"),
        ({"threads": 1.5}, ValueError, "threads is 1.5; pass an integer"),
        ({"threads": "2"}, ValueError, "threads is '2'; pass an integer"),
        ({"threads": True}, ValueError, "threads is True; pass an integer"),
        ({"max_tokens": 0}, ValueError, "max_tokens is 0; pass an integer from 1 to 8192"),
        ({"max_tokens": 10**6}, ValueError, "from 1 to 8192"),
        ({"max_tokens": 5.0}, ValueError, "max_tokens is 5.0; pass an integer"),
        ({"device": None}, DeviceError, "device is None; pass a device's name"),
        ({"device": "cuda"}, DeviceError, "a gguf bundle runs on the CPU"),
    ],
)
def test_bad_ways_to_load_are_reported(f32_bundle, arguments, error, message):
    with pytest.raises(error, match=message):
        c2llm_lite.load(f32_bundle, **arguments)


def test_a_bundle_that_would_not_fit_is_refused_before_it_is_read(f32_bundle, monkeypatch):
    monkeypatch.setattr(machine, "free_memory", lambda: 1000)
    with pytest.raises(
        OutOfMemoryError, match="0 MiB are free; free some memory, or convert the checkpoint to a smaller target"
    ):
        c2llm_lite.load(f32_bundle)


def test_a_nan_is_never_returned(model, monkeypatch):
    monkeypatch.setattr(
        type(model._engine), "pool", lambda self, b, q, _: np.full((len(b), *q.shape), np.nan, np.float32)
    )
    with pytest.raises(BundleError, match="returned NaN or infinity; run `c2llm-lite verify`"):
        model.embed("x")


def test_a_closed_model_says_so(f32_bundle):
    model = c2llm_lite.load(f32_bundle)
    model.close()
    model.close()
    with pytest.raises(ValueError, match="this Embedder is closed"):
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
    ids = model.tokenize(TEXTS, prompt=prompt)
    expected = model.embed(TEXTS, prompt=prompt, normalize=False)
    np.testing.assert_array_equal(model.embed_tokens(ids, prompt=prompt), expected)
    assert model.embed_tokens([]).shape == (0, model.dim)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([[1.7]], "text 0 is not a non-empty list of integers"),
        ([[1], []], "text 1 is not a non-empty list of integers"),
        ([[1], [[2]]], "text 1 is not a non-empty list of integers"),
        ([[[1], [2, 3]]], "text 0 is not a list of token ids"),
        ([["a"]], "text 0 is not a non-empty list of integers"),
        ([1], "text 0 is not a non-empty list of integers"),
        ([[2**70]], "text 0 is not a non-empty list of integers"),
        ([[-1]], "text 0 has token ids outside 0 to 399"),
        ([[400]], "text 0 has token ids outside 0 to 399"),
        ([100_000 * [1]], "text 0 has 100,000 token ids; this model takes at most 2,048"),
    ],
)
def test_token_ids_are_checked(model, batch, message):
    with pytest.raises(TextError, match=message):
        model.embed_tokens(batch)


def test_token_ids_may_be_arrays(model):
    np.testing.assert_array_equal(model.embed_tokens([np.array([5, 6, 7])]), model.embed_tokens([[5, 6, 7]]))


def test_embed_may_be_called_while_states_are_taken(model):
    taken = [model.embed("x") for _ in model.states("def f(x): return x " * 200)]
    assert len(taken) > 1


def test_a_pickled_model_is_loaded_again_from_its_bundle(f32_bundle, model, monkeypatch, tmp_path):
    monkeypatch.chdir(f32_bundle.parent)
    with c2llm_lite.load(f32_bundle.name, threads=1, max_tokens=20) as narrow:
        pickled = pickle.dumps(narrow)
    monkeypatch.chdir(tmp_path)
    with pickle.loads(pickled) as again:
        assert again.max_tokens == 20
        np.testing.assert_array_equal(again.embed("def f(): pass"), model.embed("def f(): pass"))
    with pytest.raises(ValueError, match="this Embedder is closed"):
        pickle.dumps(again)


def test_a_pickled_model_is_not_another_bundle(f32_bundle, tmp_path):
    folder = shutil.copytree(f32_bundle, tmp_path / "bundle")
    with c2llm_lite.load(folder, threads=1) as loaded:
        pickled = pickle.dumps(loaded)
    opened = bundles.open_bundle(folder)
    bundles.seal(folder, replace(opened.manifest, max_tokens=7))
    with pytest.raises(BundleError, match="is not the bundle that was pickled"):
        pickle.loads(pickled)


def test_a_long_text_is_refused_where_it_may_not_be_cut(model):
    assert len(model.tokenize(["x " * 5000])[0]) == model.max_tokens
    with pytest.raises(TextError, match=r"text 8 has .* tokens .* 2,048; split the text"):
        model.tokenize(["x", "x " * 5000], first_index=7, cut=False)


def test_progress_can_be_a_function(model):
    shares = []
    model.embed([f"def f{i}(x): return x + {i}" * 20 for i in range(20)], progress=shares.append)
    assert len(shares) > 1
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_the_earlier_spelling_of_tokenize_is_kept_for_one_release(model):
    with pytest.warns(DeprecationWarning, match="is called tokenize now"):
        assert model.tokenise(["def f(): pass"]) == model.tokenize(["def f(): pass"])
