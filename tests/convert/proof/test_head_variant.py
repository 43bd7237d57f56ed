"""The head's variant, found by running a checkpoint's own code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from checkpoints import write_checkpoint

pytest.importorskip("torch")
pytest.importorskip("transformers")

from c2llm_lite.convert.checkpoint import open_checkpoint
from c2llm_lite.convert.proof import head_variant as checkpoint_code
from c2llm_lite.errors import CheckpointError
from c2llm_lite.pma import Variant

CODE = (Path(__file__).parent / "modeling_c2llm.py.txt").read_text()
CONFIGURATION = 'from transformers import Qwen2Config\n\n\nclass C2LLMConfig(Qwen2Config):\n    model_type = "c2llm"\n'
AUTO_MAP = {"AutoConfig": "configuration_c2llm.C2LLMConfig", "AutoModel": "modeling_c2llm.C2LLMForEmbedding"}
KEYWORDS = {"@ARGUMENTS@": "input_ids, attention_mask", "@UNPACK@": "pass"}
DICTIONARY = {
    "@ARGUMENTS@": "features",
    "@UNPACK@": 'input_ids, attention_mask = features["input_ids"], features["attention_mask"]',
}


def write(
    folder: Path,
    residual: str = "query",
    scale: str = "width",
    output: str = "mapping",
    arguments: dict[str, str] = KEYWORDS,
    **options: object,
) -> Path:
    """A checkpoint with its own code beside it, of this variant."""
    write_checkpoint(folder, **({"auto_map": AUTO_MAP} | options))
    code = CODE
    for mark, text in {"@RESIDUAL@": residual, "@SCALE@": scale, "@OUTPUT@": output, **arguments}.items():
        code = code.replace(mark, text)
    (folder / "modeling_c2llm.py").write_text(code)
    (folder / "configuration_c2llm.py").write_text(CONFIGURATION)
    return folder


@pytest.mark.parametrize("scale", ["width", "head", "none"])
@pytest.mark.parametrize("residual", ["query", "seed"])
def test_each_variant_is_found(tmp_path: Path, residual: str, scale: str) -> None:
    checkpoint = open_checkpoint(write(tmp_path, residual, scale))
    assert checkpoint_code.find_variant(checkpoint) == Variant(4, residual, scale)  # type: ignore[arg-type]


@pytest.mark.parametrize("output", ["tensor", "tuple"])
def test_other_outputs_of_forward(tmp_path: Path, output: str) -> None:
    checkpoint = open_checkpoint(write(tmp_path, output=output, scale="head"))
    assert checkpoint_code.find_variant(checkpoint).scale == "head"


def test_forward_that_takes_a_dictionary(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write(tmp_path, residual="seed", arguments=DICTIONARY))
    assert checkpoint_code.find_variant(checkpoint).residual == "seed"


def test_untied_without_auto_map_and_a_narrower_head(tmp_path: Path) -> None:
    """The only modeling_*.py, the class in `architectures`, config_class of the class."""
    checkpoint = open_checkpoint(write(tmp_path, "seed", "none", tied=False, width=32, auto_map=...))
    assert checkpoint_code.find_variant(checkpoint) == Variant(4, "seed", "none")


def test_no_variant_fits(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "modeling_c2llm.py"
    path.write_text(path.read_text().replace("torch.relu", "torch.sigmoid"))
    with pytest.raises(CheckpointError, match=r"no known variant.*residual query, scale width, 4 heads\) differs by"):
        checkpoint_code.find_variant(open_checkpoint(tmp_path))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("from torch import nn", "from torch import nn\nimport no_such_library", "imports no_such_library; install"),
        ("self.init_weights()", "get_peft_model(self)", "calls peft.get_peft_model; install peft"),
        ("self.init_weights()", "raise ZeroDivisionError('told')", "its own code failed: ZeroDivisionError: told"),
        ("self.init_weights()", "self.extra = nn.Linear(2, 2)", r"needs extra\.(weight|bias)"),
        ("return {", "return {'loss': states} or {", "not an embedding"),
    ],
)
def test_code_that_cannot_be_run(tmp_path: Path, old: str, new: str, message: str) -> None:
    write(tmp_path)
    path = tmp_path / "modeling_c2llm.py"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(CheckpointError, match=message):
        checkpoint_code.find_variant(open_checkpoint(tmp_path))


def test_no_code_in_the_folder(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match=r"copy the checkpoint's \*.py files into it"):
        checkpoint_code.find_variant(open_checkpoint(tmp_path))
    write_checkpoint(tmp_path, auto_map=AUTO_MAP)
    with pytest.raises(CheckpointError, match=r"no code file for 'modeling_c2llm.C2LLMForEmbedding'"):
        checkpoint_code.find_variant(open_checkpoint(tmp_path))


def test_nothing_of_the_foreign_code_stays(tmp_path: Path) -> None:
    from transformers.utils import is_peft_available

    installed = is_peft_available()
    checkpoint_code.find_variant(open_checkpoint(write(tmp_path)))
    assert not [name for name in sys.modules if name.startswith(checkpoint_code.PACKAGE)]
    assert not (tmp_path / "__pycache__").exists()
    assert is_peft_available() == installed
    if not installed:
        assert "peft" not in sys.modules
        with pytest.raises(ModuleNotFoundError):
            import peft  # noqa: F401 - that it fails is the test
