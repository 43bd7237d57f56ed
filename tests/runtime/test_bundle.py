"""The manifest: written atomically, and never trusted before it is checked."""

from __future__ import annotations

import ast
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
        write_files(staging)
        bundles.seal(staging, manifest())
    return tmp_path / "bundle"


def write_files(folder: Path) -> None:
    """Every file that a bundle must have, and one more."""
    for name in (*bundles.COMMON_FILES, *bundles.ENGINE_FILES["llama_cpp"], "weights.bin"):
        (folder / name).write_bytes(b"some weights")


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


RECORD = {"size": 1, "sha256": "0" * 64}


def _rewrite(folder: Path, change) -> None:
    """Alter the manifest and hash it again, as only somebody with intent would."""
    data = json.loads((folder / bundles.MANIFEST).read_text())
    change(data)
    text = data if isinstance(data, str) else json.dumps(data)
    (folder / bundles.MANIFEST).write_text(text)
    digest = bundles.file_sha256(folder / bundles.MANIFEST)
    (folder / bundles.MANIFEST_HASH).write_text(f"{digest}  {bundles.MANIFEST}\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=2), "format is 2, but this version of c2llm-lite reads formats up to 1; upgrade"),
        (lambda d: d.pop("format"), "no format number; this is not a bundle"),
        (lambda d: d.pop("width"), "missing or unknown fields: width"),
        (lambda d: d.update(extra=1), "missing or unknown fields: extra"),
        (lambda d: d.update(width="64"), "width is '64', which is not int"),
        (lambda d: d.update(width=True), "width is True, which is not int"),
        (lambda d: d["head"].update(residual="both"), "residual is 'both'"),
        (lambda d: d["backbone"].update(hidden=None), "hidden is None, which is not int"),
        (lambda d: d["probes"].append("text"), r"probes\[2\] is not an object"),
        (lambda d: d["files"].update({"../escape": RECORD}), "not a file of the bundle"),
        (lambda d: d["files"].update({"gone.bin": RECORD}), r"gone\.bin is missing"),
        (lambda d: d["files"].update({"x" * 300: RECORD}), "files's key is 'x"),
        (lambda d: d["files"].update({"gone.bin": RECORD | {"sha256": ""}}), "sha256 is '', which is not of the form"),
        (lambda d: d["files"].update({"gone.bin": RECORD | {"size": -1}}), "size is -1, which is not from 0"),
        (lambda d: d.update(files={}), r"does not list tokenizer\.json"),
        *(
            (lambda d, name=name: d["files"].pop(name), f"does not list {name}")
            for name in (*bundles.COMMON_FILES, *bundles.ENGINE_FILES["llama_cpp"])
        ),
        (lambda d: d.update(format=0), "format is 0, which is not from 1"),
        (lambda d: d.update(format=10**4000), "format is 1000000"),
        (lambda d: d.update(width=0), "width is 0, which is not from 1"),
        (lambda d: d.update(width=2**64), "width is 1844674"),
        (lambda d: d.update(memory=-1), "memory is -1"),
        (lambda d: d.update(max_tokens=0), "max_tokens is 0"),
        (lambda d: d.update(max_tokens=5000), "max_tokens is 5000, and max_positions 4096"),
        (lambda d: d["head"].update(heads=0), "head has 0 heads"),
        (lambda d: d["head"].update(heads=3), "head has 3 heads for a width of 64"),
        (lambda d: d["head"].update(scale=["width"]), r"scale is \['width'\]"),
        (lambda d: d["backbone"].update(layers=2**31), "layers is 2147483648, which is not from 1 to 512"),
        (lambda d: d["backbone"].update(heads=0), "heads is 0"),
        (lambda d: d["backbone"].update(heads=3), "backbone has 3 heads and 2 kv_heads for 64 hidden"),
        (lambda d: d["backbone"].update(heads=64, kv_heads=2), "backbone has 64 heads"),
        (lambda d: d["backbone"].update(kv_heads=3), "backbone has 4 heads and 3 kv_heads"),
        (lambda d: d["backbone"].update(kv_heads=-2), "kv_heads is -2"),
        (lambda d: d["backbone"].update(rope_theta=1e40), r"rope_theta is 1e\+40"),
        (lambda d: d["backbone"].update(rope_theta=10**400), "rope_theta is 10000"),
        (lambda d: d["backbone"].update(rms_norm_eps=1e40), r"rms_norm_eps is 1e\+40"),
        (lambda d: d["backbone"].update(rms_norm_eps=0), "rms_norm_eps is 0"),
        (lambda d: d["backbone"].update(rms_norm_eps=float("nan")), "it contains NaN"),
        (lambda d: d["notes"].update(a=float("inf")), "it contains Infinity"),
        (lambda d: d["prompts"].update(query="\ud800"), "lone surrogate"),
        (lambda d: d["notes"].update({"\ud800": 1}), "lone surrogate"),
        (lambda d: d["prompts"].update(query="x" * 70_000), "prompts.query is 'xxx"),
        (lambda d: d["prompts"].update({"": "x"}), "prompts's key is ''"),
        (lambda d: d["probes"][0].update(cosine=2), "cosine is 2, which is not from"),
        (lambda d: d["probes"][0].update(tokens=0), "tokens is 0"),
        (lambda d: d["source"].update(sha256="zz"), "sha256 is 'zz'"),
        (lambda d: d["notes"].update(a=json.loads("[" * 100 + "]" * 100)), "nested more than 32 levels deep"),
    ],
)
def test_what_a_manifest_says_is_checked(folder, change, message):
    _rewrite(folder, change)
    with pytest.raises(BundleError, match=message):
        bundles.open_bundle(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"format":1,"a":' * 100_000,
        b'{"format": 1, "width": 1e400}',
        b'{"format": ' + b"1" * 10_000 + b"}",
        b"\xff",
        b"",
        b" " * (bundles.MANIFEST_BYTES + 1),
    ],
)
def test_what_is_no_manifest_is_a_bundle_error(folder, content):
    (folder / bundles.MANIFEST).write_bytes(content)
    digest = bundles.file_sha256(folder / bundles.MANIFEST)
    (folder / bundles.MANIFEST_HASH).write_text(f"{digest}  {bundles.MANIFEST}\n")
    with pytest.raises(BundleError) as error:
        bundles.open_bundle(folder)
    assert len(str(error.value)) < 500


def test_a_cut_file_is_reported_on_every_load_and_an_altered_one_when_checked(folder):
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


NAMES = {
    *("manifest.json", "manifest.sha256", "pma.safetensors", "token_embeddings.npy", "probes.safetensors"),
    *("backbone.gguf", "openvino_model.xml", "openvino_model.bin", "states_map.matrix", "states_map.bias"),
}


def test_only_the_format_s_module_spells_the_format_s_names():
    """And spells them as it always has: bundles made before still load."""
    top = Path(__file__).parents[2]
    spelled = {}
    attacker = top / "benchmarks" / "lab" / "hostile"  # which writes what it likes
    doctor = top / "c2llm_lite" / "doctor"  # which runs where the format's module may not be importable
    for path in (path for room in ("c2llm_lite", "convert", "benchmarks") for path in (top / room).rglob("*.py")):
        if path.is_relative_to(attacker) or path.is_relative_to(doctor):
            continue
        constants = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        if found := NAMES & {constant for constant in constants if isinstance(constant, str)}:
            spelled[path.relative_to(top).as_posix()] = found
    assert spelled == {"c2llm_lite/bundle.py": NAMES}
    assert (bundles.TOKENIZER, bundles.SAFETENSORS) == ("tokenizer.json", "model.safetensors")
    assert (bundles.REFERENCE_VECTORS, bundles.TARGET_VECTORS) == ("reference", "target")
