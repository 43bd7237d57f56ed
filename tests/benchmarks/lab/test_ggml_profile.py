"""llama.cpp's functions are told from a profile of the whole process."""

from __future__ import annotations

import pytest

from c2llm_lite.benchmarks.lab.ggml_builds.sampled import shares

REPORT = """
# Overhead;Shared Object       ;Symbol
 60.00% ;libggml-cpu.so.0     ;[.] (anonymous namespace)::gemm<block_q8_0, float>
 20.00% ;libggml-base.so.0    ;[.] quantize_row_q8_K_ref
  0.10% ;libggml-cpu.so.0     ;[.] ggml_vec_soft_max_f32
 15.00% ;libpython3.11.so.1.0 ;[.] visit_decref
  4.90% ;[kernel.kallsyms]    ;[k] finish_task_switch
"""


def test_shares_are_of_llama_cpp_alone() -> None:
    found = shares(REPORT)
    assert found == {"(anonymous namespace)::gemm<block_q8_0, float>": 0.749, "quantize_row_q8_K_ref": 0.25}


def test_a_profile_without_llama_cpp_is_refused() -> None:
    with pytest.raises(SystemExit, match="perf_event_paranoid"):
        shares("15.00% ;libpython3.11.so.1.0 ;[.] visit_decref")
