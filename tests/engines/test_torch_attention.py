"""Each way in which the torch engine attends and reduces, against the plainest form, text by text, in fp32."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from c2llm_lite import bundle as bundles
from c2llm_lite.engines.torch import attention, embeddings
from c2llm_lite.engines.torch.texts import PADDING, Texts
from c2llm_lite.token_embeddings import TokenEmbeddings

CPU = torch.device("cpu")
HEADS, KV_HEADS, DIM = 6, 2, 16
MIXES = {
    "one": [7],
    "alike": [5, 5, 5],
    "sorted": [300, 290, 288, 120, 120, 17, 16, 15, 2, 1],
    "any order": [1, 17, 17, 300, 2],
}


def causal(lengths: list[int]) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Query, key and value of all texts, and what scaled dot products with a causal mask give, text by text."""
    torch.manual_seed(sum(lengths))
    query, key, value = (torch.randn(sum(lengths), heads, DIM) for heads in (HEADS, KV_HEADS, KV_HEADS))
    parts = []
    for q, k, v in zip(*(x.split(lengths) for x in (query, key, value)), strict=True):
        scores = torch.einsum("thd,shd->hts", q, k.repeat_interleave(HEADS // KV_HEADS, 1)) / DIM**0.5
        weights = scores.masked_fill(torch.ones(len(q), len(q)).triu(1).bool(), -torch.inf).softmax(-1)
        parts.append(torch.einsum("hts,shd->thd", weights, v.repeat_interleave(HEADS // KV_HEADS, 1)))
    return [query, key, value], torch.cat(parts)


def today(q, k, v, cu_seq_q, cu_seq_k, max_q, max_k, *, window_size=(-1, -1), enable_gqa=False, num_splits=None):
    """varlen_attn's signature from PyTorch 2.12, run by its plainest meaning."""
    assert (window_size, num_splits, enable_gqa) == ((-1, 0), 1, True)
    k, v = (x.repeat_interleave(HEADS // KV_HEADS, 1) for x in (k, v))
    return of_2_10(q, k, v, cu_seq_q, cu_seq_k, max_q, max_k, True)


def of_2_10(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False):
    """varlen_attn's signature in PyTorch 2.10."""
    assert is_causal
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    lengths = cu_seq_q.diff().tolist()
    assert max_q == max_k == max(lengths)
    parts = zip(*(x.split(lengths) for x in (query, key, value)), strict=True)
    heads_first = ([x.transpose(0, 1)[None] for x in part] for part in parts)
    return torch.cat([F.scaled_dot_product_attention(*p, is_causal=True)[0].transpose(0, 1) for p in heads_first])


@pytest.mark.parametrize("lengths", MIXES.values(), ids=MIXES)
def test_in_blocks(lengths: list[int]) -> None:
    rows, wanted = causal(lengths)
    torch.testing.assert_close(attention.in_blocks(*rows, Texts(lengths, CPU)), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kernel", [today, of_2_10])
@pytest.mark.parametrize("lengths", MIXES.values(), ids=MIXES)
def test_packed(monkeypatch, lengths: list[int], kernel) -> None:
    """The CUDA kernel's call, its arithmetic done here: no card is needed to see what it would be given."""
    monkeypatch.setattr(attention, "varlen_attn", lambda: kernel)
    rows, wanted = causal(lengths)
    torch.testing.assert_close(attention.packed(*rows, Texts(lengths, CPU)), wanted, atol=1e-5, rtol=0)


def test_this_release_has_the_kernel_as_it_is_called() -> None:
    kernel = attention.varlen_attn()
    if kernel is None:
        pytest.skip("this PyTorch has no varlen_attn")
    options = attention._options(kernel)
    assert options.get("window_size") == (-1, 0) or options == {"is_causal": True}


def test_packed_is_for_16_bits_on_a_card_that_has_flash_attention(monkeypatch) -> None:
    monkeypatch.setattr(attention, "has_flash", lambda device: device.type == "cuda")
    monkeypatch.setattr(attention, "varlen_attn", lambda: today)
    cuda = torch.device("cuda")
    assert attention.attention_for(cuda, torch.bfloat16, 64) is attention.packed
    assert attention.attention_for(cuda, torch.float32, 64) is attention.in_blocks
    assert attention.attention_for(cuda, torch.bfloat16, 20) is attention.in_blocks
    assert attention.attention_for(CPU, torch.bfloat16, 64) is attention.in_blocks
    monkeypatch.setattr(attention, "varlen_attn", lambda: None)
    assert attention.attention_for(cuda, torch.bfloat16, 64) is attention.in_blocks


@pytest.mark.parametrize("lengths", MIXES.values(), ids=MIXES)
def test_the_reduction(lengths: list[int]) -> None:
    torch.manual_seed(0)
    states, queries = torch.randn(sum(lengths), 64), torch.randn(4, 64)
    wanted = [torch.softmax(part @ queries.T, 0).T @ part for part in states.split(lengths)]
    found = attention.pool(states, queries, Texts(lengths, CPU))
    torch.testing.assert_close(found, torch.stack(wanted), atol=1e-5, rtol=0)


@pytest.mark.parametrize("lengths", MIXES.values(), ids=MIXES)
def test_little_is_padding_and_nothing_is_left_out(lengths: list[int]) -> None:
    runs = Texts(lengths, CPU).runs
    assert sum(run.end - run.start for run in runs) == sum(lengths)
    for run in runs:
        assert run.end - run.start >= (1 - PADDING) * run.slots.numel()


def test_a_table_on_the_device_gives_the_host_s_rows(f32_bundle) -> None:
    table = TokenEmbeddings(bundles.open_bundle(f32_bundle))
    ids = [3, 0, 399, 3]
    for states in (torch.float32, torch.bfloat16):
        there = embeddings._on_device(table, CPU, states)(ids)
        assert torch.equal(there, embeddings.lookup(table, CPU, states)(ids))
        assert there.dtype == states
