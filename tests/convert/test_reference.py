"""The NumPy forward pass, and the oracle of the other tests, against transformers' Qwen2."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import transcription
from checkpoints import write_checkpoint
from numpy.typing import NDArray
from transformers import Qwen2Config, Qwen2Model

from c2llm_lite.convert import reference
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.errors import CheckpointError, TextError

RELATIVE = 1e-4  # of a state's length, fp32
VOCAB = 400

CHECKPOINTS: dict[str, dict[str, object]] = {
    "bf16, tied": {},
    "fp16, untied, three shards": {"dtype": "F16", "tied": False, "shards": 3},
    "fp32, no prefix, narrow head": {"dtype": "F32", "prefix": "", "width": 32},
    "one key head": {"heads": 4, "kv_heads": 1},
    "as many key heads as heads": {"heads": 8, "kv_heads": 8},
    "odd group of heads": {"hidden": 96, "heads": 6, "kv_heads": 2, "layers": 3},
    "one head, rope theta 10000": {"heads": 1, "kv_heads": 1, "rope_theta": 10000.0, "rms_norm_eps": 1e-5},
    "prefix of a re-saved model": {"prefix": "model.", "shards": 2},
}


def random_texts(lengths: tuple[int, ...], seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, VOCAB, length).tolist() for length in lengths]


def transformers_states(folder: Path, text: list[int], prefix: str) -> NDArray[np.float32]:
    config = Qwen2Config(**json.loads((folder / "config.json").read_text(encoding="utf-8")))
    model = Qwen2Model(config).eval()
    weights = transcription.load_weights(folder, prefix)
    model.load_state_dict({n: w for n, w in weights.items() if "mha_pma" not in n and "lm_head" not in n})
    with torch.inference_mode():
        states: NDArray[np.float32] = model(torch.tensor([text])).last_hidden_state[0].numpy()
    return states


def relative_error(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """The worst token's distance from what it should be, over its length."""
    return float((np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)).max())


@pytest.mark.parametrize("shape", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_states_match_transformers(tmp_path: Path, shape: dict[str, object]) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint", **shape)  # type: ignore[arg-type]
    texts = random_texts((1, 40, 300))
    found = reference.states(open_checkpoint(folder), texts)
    weights = transcription.load_weights(folder, str(shape.get("prefix", "plm_model.model.")))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for text, states in zip(texts, found, strict=True):
        wanted = transformers_states(folder, text, str(shape.get("prefix", "plm_model.model.")))
        assert states.dtype == np.float32
        assert relative_error(states, wanted) < RELATIVE
        assert relative_error(transcription.backbone(weights, config, text).numpy(), wanted) < RELATIVE


def test_a_text_of_2048_tokens(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    (text,) = random_texts((2048,))
    (states,) = reference.states(open_checkpoint(folder), [text])
    assert relative_error(states, transformers_states(folder, text, "plm_model.model.")) < RELATIVE


def test_a_text_does_not_depend_on_its_company(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "checkpoint"))
    texts = random_texts((300, 5, 2000, 17, 1, 2100))  # more than go through a layer at once
    together = reference.vectors(checkpoint, texts)
    for index in (0, 1, 3, 4):
        np.testing.assert_allclose(reference.vectors(checkpoint, [texts[index]])[0], together[index], atol=1e-5)
    np.testing.assert_allclose(reference.vectors(checkpoint, texts[::-1])[::-1], together, atol=1e-5)


@pytest.mark.parametrize("width", [64, 32])
def test_vectors_match_the_transcription(tmp_path: Path, width: int) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint", width=width)
    texts = random_texts((1, 7, 200))
    found = reference.vectors(open_checkpoint(folder), texts)
    assert found.shape == (3, width)
    for text, vector in zip(texts, found, strict=True):
        np.testing.assert_allclose(vector, transcription.embed(folder, text).numpy(), atol=1e-5)


def test_progress_counts_layers(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "checkpoint", layers=3))
    seen: list[tuple[int, int]] = []
    reference.states(checkpoint, [[1, 2]], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("text", [[], [VOCAB], [-1]])
def test_a_text_that_cannot_run_is_named(tmp_path: Path, text: list[int]) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "checkpoint"))
    with pytest.raises(TextError, match="text 1 "):
        reference.states(checkpoint, [[1], text])


def test_a_weight_that_is_not_a_number_is_met(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint", dtype="F32")
    path = folder / "model.safetensors"
    with path.open("r+b") as file:  # the last value of the file: the head's
        file.seek(-4, os.SEEK_END)
        file.write(np.float32(np.nan).tobytes())
    with pytest.raises(CheckpointError, match=r"mha_pma\.mab\.ln1\.bias contains NaN"):
        reference.vectors(open_checkpoint(folder), [[1]])
