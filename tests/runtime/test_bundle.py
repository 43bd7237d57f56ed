"""The manifest: written atomically, and never believed before it is checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from c2llm_lite import bundle as bundles
from c2llm_lite.durable import staged
from c2llm_lite.errors import BundleError
from c2llm_lite.pma import Variant


def manifest() -> bundles.Manifest:
    return bundles.Manifest(
        source=bundles.Source("owner/name", None, "00" * 32),
        target="gguf:f32",
        engine="llama_cpp",
        backbone=bundles.Backbone(64, 128, 2, 4, 2, 300, 1e6, 1e-6, 4096, True),
        head=Variant(heads=4),
        width=64,
        max_tokens=2048,
        prompts={"query": "Q:\n"},
        tensors={"norm.weight": "f32"},
        memory=1000,
        versions={"numpy": "2"},
        probes=(bundles.Probe("text", 32, 0.99), bundles.Probe("other", 40, None)),
    )


@pytest.fixture
def folder(tmp_path):
    with staged(tmp_path / "bundle") as staging:
        (staging / "weights.bin").write_bytes(b"some weights")
        bundles.seal(staging, manifest())
    return tmp_path / "bundle"


def test_a_manifest_comes_back_as_it_went(folder):
    opened = bundles.open_bundle(folder, check=True).manifest
    assert opened.files["weights.bin"].size == 12
    assert opened == bundles.Manifest(**{**vars(manifest()), "files": opened.files})


def test_the_matrices_type_is_that_of_the_most():
    layers = {f"layers.{i}.{part}_proj.weight": "iq4_nl" for i in range(2) for part in ("self_attn.q", "mlp.up")}
    mixed = replace(manifest(), tensors=manifest().tensors | layers | {"layers.0.self_attn.v_proj.weight": "q8_0"})
    biased = replace(mixed, tensors=mixed.tensors | {f"layers.{i}.self_attn.q_proj.bias": "f32" for i in range(9)})
    assert mixed.matrix_type() == biased.matrix_type() == "iq4_nl"
    with pytest.raises(BundleError, match="lists no matrix of the backbone; convert the checkpoint again"):
        manifest().matrix_type()


def test_only_the_bundle_is_left(folder):
    assert [p.name for p in folder.parent.iterdir()] == ["bundle"]


def test_every_byte_of_the_manifest_counts(folder):
    for name in (bundles.MANIFEST, bundles.MANIFEST_HASH):
        whole = (folder / name).read_bytes()
        for position in range(len(whole)):
            flipped = bytearray(whole)
            flipped[position] ^= 1
            (folder / name).write_bytes(flipped)
            with pytest.raises(BundleError, match="does not match"):
                bundles.open_bundle(folder)
        (folder / name).write_bytes(whole)
    bundles.open_bundle(folder, check=True)


def _rewrite(folder: Path, change) -> None:
    """Alter the manifest and hash it anew, as only somebody with intent would."""
    data = json.loads((folder / bundles.MANIFEST).read_text())
    change(data)
    text = data if isinstance(data, str) else json.dumps(data)
    (folder / bundles.MANIFEST).write_text(text)
    digest = bundles.file_sha256(folder / bundles.MANIFEST)
    (folder / bundles.MANIFEST_HASH).write_text(f"{digest}  {bundles.MANIFEST}\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=2), "format is 2 and this version of c2llm-lite reads up to 1: upgrade"),
        (lambda d: d.pop("format"), "no format number: this is not a bundle"),
        (lambda d: d.pop("width"), "missing or unknown fields: width"),
        (lambda d: d.update(extra=1), "missing or unknown fields: extra"),
        (lambda d: d.update(width="64"), "width is '64', which is not int"),
        (lambda d: d.update(width=True), "width is True, which is not int"),
        (lambda d: d["head"].update(residual="both"), "residual is 'both'"),
        (lambda d: d["backbone"].update(hidden=None), "hidden is None, which is not int"),
        (lambda d: d["probes"].append("text"), r"probes\[2\] is not an object"),
        (lambda d: d["files"].update({"../escape": {"size": 1, "sha256": ""}}), "not a file of the bundle"),
        (lambda d: d["files"].update({"gone.bin": {"size": 1, "sha256": ""}}), r"gone\.bin is missing"),
    ],
)
def test_what_a_manifest_says_is_checked(folder, change, message):
    _rewrite(folder, change)
    with pytest.raises(BundleError, match=message):
        bundles.open_bundle(folder)


def test_a_cut_file_is_told_on_every_load_and_an_altered_one_when_checked(folder):
    (folder / "weights.bin").write_bytes(b"some weighty")
    bundles.open_bundle(folder)
    with pytest.raises(BundleError, match=r"weights\.bin does not match its sha256"):
        bundles.open_bundle(folder, check=True)
    (folder / "weights.bin").write_bytes(b"some")
    with pytest.raises(BundleError, match=r"weights\.bin has 4 bytes, not 12"):
        bundles.open_bundle(folder)


@pytest.mark.parametrize("name", [bundles.MANIFEST, bundles.MANIFEST_HASH])
def test_a_folder_without_a_manifest_is_no_bundle(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"has no {name}"):
        bundles.open_bundle(folder)


def test_what_is_not_a_folder_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="is not a folder"):
        bundles.open_bundle(tmp_path / "nowhere")
