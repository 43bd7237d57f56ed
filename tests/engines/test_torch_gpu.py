"""The PyTorch engine on CUDA: against the fp32 reference on a CPU, its memory, and running out of it."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

import c2llm_lite
from c2llm_lite.convert import convert
from c2llm_lite.convert.targets.bitsandbytes import stored_bytes

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]
TEXTS = [
    "x",
    "def f(x):\n    return x",
    "import os\n" * 40,
    "for name in names: print(name)",
    "class Stack: pass\n" * 9,
]
# The least cosine to fp32 on a CPU, on random weights.
LEAST = {"torch:fp32": 0.99999, "torch:bf16": 0.9995, "bnb:int8": 0.999, "bnb:nf4": 0.99}
COMPANY = {"torch:fp32": 1e-5, "torch:bf16": 1e-3}


@pytest.fixture(scope="module")
def made(checkpoint_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("gpu")
    names = {target: folder / target.replace(":", "_") for target in LEAST if runs(target)}
    return {t: convert(checkpoint_folder, path, t, target_probes=False).folder for t, path in names.items()}


def runs(target: str) -> bool:
    return not target.startswith("bnb") or find_spec("bitsandbytes") is not None


@pytest.mark.parametrize("target", LEAST)
def test_parity_with_fp32_on_a_cpu_and_company(made: dict[str, Path], target: str) -> None:
    if target not in made:
        pytest.skip("bitsandbytes is not installed")
    with c2llm_lite.load(made["torch:fp32"], device="cpu") as model:
        reference = model.embed(TEXTS)
    with c2llm_lite.load(made[target], device="cuda") as model:
        together = model.embed(TEXTS)
        alone = np.stack([model.embed(text) for text in TEXTS])
    assert np.sum(reference * together, axis=1).min() >= LEAST[target]
    if target in COMPANY:
        assert np.abs(together - alone).max() <= COMPANY[target]
    else:
        assert np.sum(together * alone, axis=1).min() >= 0.995


@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_memory_is_the_stored_weights_and_is_given_back(made: dict[str, Path], kind: str) -> None:
    pytest.importorskip("bitsandbytes")
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    with c2llm_lite.load(made[f"bnb:{kind}"], device="cuda") as model:
        taken = torch.cuda.memory_allocated() - before
        stored = stored_bytes(model.bundle.manifest.backbone, kind)
        tensors = 12 * len(model._engine._model.layers)
        table = 2 * model.bundle.manifest.backbone.vocab * model.bundle.manifest.backbone.hidden
        assert taken <= stored + table + 6 * tensors * 512  # PyTorch rounds each tensor up to 512 bytes
    assert torch.cuda.memory_allocated() <= before


def test_attention_takes_memory_by_the_length_not_its_square(made: dict[str, Path]) -> None:
    with c2llm_lite.load(made["torch:fp32"], device="cuda") as model:
        ids = np.random.default_rng(0).integers(0, 400, 8192).tolist()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        model._engine.pool([ids], model._head.queries)
        assert torch.cuda.max_memory_allocated() - before < 8192 * 8192 * 4  # one head's square of scores


def test_a_small_card_halves_the_batch(made: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    ids = [np.random.default_rng(i).integers(0, 400, 512).tolist() for i in range(32)]
    with c2llm_lite.load(made["torch:fp32"], device="cuda") as model:
        queries = model._head.queries
        whole = model._engine.pool(ids, queries)
        alone = model._engine.pool(ids[:1], queries)
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        try:
            # Room for what is allocated and for about 4 of the 32 texts.
            torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (24 << 20)) / total)
            with caplog.at_level(logging.WARNING):
                small = model._engine.pool(ids, queries)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
    np.testing.assert_allclose(small, whole, atol=1e-4)
    np.testing.assert_allclose(small[:1], alone, atol=1e-4)
    assert len(caplog.records) == 1
    assert "ran out of memory" in caplog.records[0].message


def test_packed_attention_is_what_blocks_give(made: dict[str, Path]) -> None:
    from c2llm_lite.engines.torch import attention
    from c2llm_lite.engines.torch.texts import Texts

    cuda = torch.device("cuda")
    if attention.attention_for(cuda, torch.bfloat16, 64) is not attention.packed:
        pytest.skip("this card or this PyTorch has no packed flash attention")
    lengths = [700, 300, 299, 17, 1]
    torch.manual_seed(0)
    rows = [torch.randn(sum(lengths), heads, 64, device=cuda, dtype=torch.bfloat16) for heads in (14, 2, 2)]
    texts = Texts(lengths, cuda)
    wanted = attention.in_blocks(*(x.float() for x in rows), texts)
    torch.testing.assert_close(attention.packed(*rows, texts).float(), wanted, atol=2e-2, rtol=0)


def test_token_embeddings_lie_on_the_card(made: dict[str, Path]) -> None:
    with (
        c2llm_lite.load(made["torch:bf16"], device="cuda") as there,
        c2llm_lite.load(made["torch:bf16"], device="cpu") as here,
    ):
        assert torch.equal(there._engine._rows([3, 0]).cpu(), here._engine._rows([3, 0]))
