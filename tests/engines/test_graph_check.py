"""A graph whose inputs, attention or cache are not the manifest's never reaches OpenVINO, which could crash on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from c2llm_lite import bundle as bundles
from c2llm_lite import load
from c2llm_lite.convert import convert
from c2llm_lite.errors import BundleError

GRAPH = bundles.OPENVINO_GRAPH


@pytest.fixture(scope="module")
def bundle(checkpoint_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("optimum.exporters.openvino")
    folder = tmp_path_factory.mktemp("graph") / "bundle"
    return convert(checkpoint_folder, folder, "openvino:int8", target_probes=False).folder


def swapped(kind: str, other: str) -> Callable[[str], str]:
    return lambda text: text.replace(f'type="{kind}"', f'type="{other}"', 1)


def doubled(text: str) -> str:
    begin, end = text.index("<layers>") + len("<layers>"), text.index("</layers>")
    return text[:end] + text[begin:end] + text[end:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (swapped("ScaledDotProductAttention", "Assign"), "it has 1 ScaledDotProductAttention, not 2"),
        (swapped("ScaledDotProductAttention", "ReadValue"), "it has 1 ScaledDotProductAttention, not 2"),
        (swapped("Const", "Parameter"), "it has 5 Parameter, not 4"),
        (swapped("ReadValue", "Const"), "it has 3 ReadValue, not 4"),
        (swapped("Assign", "Const"), "it has 3 Assign, not 4"),
        (swapped("Result", "Const"), "it has 0 Result, not 1"),
        (doubled, "it has 8 Parameter, not 4"),
        (lambda _: "", "it has 0 Parameter, not 4"),
    ],
)
def test_a_graph_of_another_structure_is_refused(
    bundle: Path, tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    (folder / GRAPH).write_text(change((folder / GRAPH).read_text()))
    bundles.seal(folder, bundles.open_bundle(bundle).manifest)
    with pytest.raises(BundleError, match=rf"openvino_model\.xml is not the manifest's backbone: {message}"):
        load(folder, cache=False)
