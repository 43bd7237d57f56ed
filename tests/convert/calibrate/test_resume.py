"""An interrupted calibration resumes to the same bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkpoints import write_checkpoint
from needed import skip_without

from c2llm_lite.convert import convert
from c2llm_lite.convert.calibrate import recovery
from c2llm_lite.convert.calibrate.resume import Unfinished
from c2llm_lite.convert.calibrate.variants import COPIES
from c2llm_lite.errors import OutputError

LAYERS = 3
TEXTS = {"document": [f"def f{i}(x): return x * {i}" for i in range(12)], "query": ["multiply"]}


class Stop(KeyboardInterrupt):
    """As Ctrl-C would end it."""


@contextlib.contextmanager
def kept_layers(stop_after: int | None = None) -> Iterator[list[int]]:
    """The layers, counted from 1, that are kept in the block; a stop after one of them."""
    kept: list[int] = []
    keep = Unfinished.keep

    def keeping(unfinished: Unfinished, layer: int, *rounded: Any) -> None:
        keep(unfinished, layer, *rounded)
        kept.append(layer + 1)
        if layer + 1 == stop_after:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Unfinished, "keep", keeping)
        yield kept


def stopped(source: Path, output: Path, target: str, texts: dict[str, list[str]], layer: int) -> None:
    with kept_layers(stop_after=layer), pytest.raises(Stop) as stop:
        convert(source, output, target, target_probes=False, calibrate=texts)
    (folder,) = output.parent.glob(f".{output.name}.unfinished-*{str(stop.value).partition('unfinished-')[2][:16]}")
    assert str(stop.value) == f"{layer} rounded layers are kept in {folder}; the same command continues"
    assert not output.exists()


def layers_rounded(source: Path, output: Path, target: str) -> tuple[str, list[int]]:
    """The bundle's hash, and the layers that it took."""
    with kept_layers() as kept:
        bundle = convert(source, output, target, target_probes=False, calibrate=TEXTS)
    return bundle.sha256, kept


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "checkpoint", layers=LAYERS)


@pytest.mark.parametrize("target", ["gguf:int4", "openvino:int4", "openvino:int8", "bnb:nf4"])
def test_one_that_was_stopped_twice_gives_the_same_bytes(target: str, source: Path, tmp_path: Path) -> None:
    skip_without(target)
    whole = layers_rounded(source, tmp_path / "whole", target)
    output = tmp_path / "in parts"
    stopped(source, output, target, TEXTS, layer=1)
    stopped(source, output, target, TEXTS, layer=2)
    assert whole[1] == [1, 2, 3]
    assert layers_rounded(source, output, target) == (whole[0], [3])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint", "in parts", "whole"]


def test_one_that_was_stopped_after_its_last_layer_rounds_nothing_again(source: Path, tmp_path: Path) -> None:
    whole, _ = layers_rounded(source, tmp_path / "whole", "gguf:q4_0")
    stopped(source, tmp_path / "parts", "gguf:q4_0", TEXTS, layer=LAYERS)
    assert layers_rounded(source, tmp_path / "parts", "gguf:q4_0") == (whole, [])


def test_another_target_and_other_texts_do_not_continue_from_it(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "bundle"
    stopped(source, output, "gguf:int4", TEXTS, layer=2)
    stopped(source, output, "gguf:q4_0", {"document": TEXTS["document"][:8]}, layer=1)
    _, rounded = layers_rounded(source, output, "gguf:q4_0")
    assert rounded == [1, 2, 3]
    assert len(list(tmp_path.glob(".bundle.unfinished-*"))) == 2  # of those two, which can still continue


def at_depth(source: Path, output: Path, layers: int, target: str = "gguf:int4") -> tuple[str, list[int]]:
    """The hash of a bundle of so many layers, and which it took that earlier ones had not left in the folder."""
    with kept_layers() as kept:
        bundle = convert(
            source,
            output,
            target,
            target_probes=False,
            calibrate=TEXTS,
            layers=layers,
            rounded=output.parent / "rounded",
            force=True,
        )
    return bundle.sha256, kept


@pytest.mark.parametrize("target", ["gguf:int4", "openvino:int8", "bnb:nf4"])
def test_depths_share_their_layers_and_give_the_same_bytes(target: str, source: Path, tmp_path: Path) -> None:
    skip_without(target)
    made = {}
    for layers in (1, LAYERS, 2):
        folder = tmp_path / f"alone-{layers}"
        folder.mkdir()
        made[layers], _ = at_depth(source, folder / "bundle", layers, target)
    found = [at_depth(source, tmp_path / f"{layers} layers", layers, target) for layers in (1, LAYERS, 2, LAYERS)]
    assert found == [(made[1], [1]), (made[LAYERS], [2, 3]), (made[2], []), (made[LAYERS], [])]


def test_the_full_model_runs_once_for_all_depths_and_targets(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []
    states = recovery.reference.states

    def counted(checkpoint: Any, texts: Any, *rest: Any, **named: Any) -> Any:
        ran.append(len(texts))
        return states(checkpoint, texts, *rest, **named)

    monkeypatch.setattr(recovery.reference, "states", counted)
    for layers, target in ((1, "gguf:q4_1"), (2, "gguf:q4_1"), (1, "gguf:q4_0")):
        at_depth(source, tmp_path / f"{layers} layers of {target}", layers, target)
    assert ran.count(13 * (1 + COPIES)) == 1


def test_the_recipe_whose_last_layer_differs_shares_none(source: Path, tmp_path: Path) -> None:
    assert at_depth(source, tmp_path / "whole", LAYERS, "gguf:int5")[1] == [1, 2, 3]
    assert at_depth(source, tmp_path / "cut", 2, "gguf:int5")[1] == [1, 2]


@pytest.mark.parametrize("file", ["after-2.npz", "layer-0.npz"])
def test_a_damaged_file_is_an_error_that_says_what_to_delete(file: str, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "bundle"
    stopped(source, output, "gguf:q4_0", TEXTS, layer=2)
    (folder,) = tmp_path.glob(".bundle.unfinished-*")
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(OutputError, match=rf"{file} cannot be read .*; delete .*\.bundle\.unfinished-"):
        convert(source, output, "gguf:q4_0", target_probes=False, calibrate=TEXTS)
    assert not output.exists()


def test_what_cannot_be_kept_is_an_error_that_names_the_folder(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **arrays: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("c2llm_lite.convert.calibrate.resume.np.savez", full)
    with pytest.raises(OutputError, match=r"cannot keep .*\.bundle\.unfinished-.*No space left"):
        convert(source, tmp_path / "bundle", "gguf:q4_0", target_probes=False, calibrate=TEXTS)
