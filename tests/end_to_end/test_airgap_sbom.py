"""A kit's bill of materials: every wheel and the bundle, with hashes and licenses, valid by the library's own check."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile

import pytest
from kits import INSTALLER, write_kit

from c2llm_lite import bundle as bundles

pytest.importorskip("cyclonedx")

INFO = "some_lib-1.0.dist-info"


@pytest.fixture(scope="module")
def kit(f32_bundle, tmp_path_factory):
    folder = write_kit(tmp_path_factory.mktemp("sbom") / "kit")
    shutil.copytree(f32_bundle, folder / "bundle", dirs_exist_ok=True)
    with zipfile.ZipFile(folder / "wheels" / "some_lib-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(
            f"{INFO}/METADATA",
            "Metadata-Version: 2.4\nName: Some_Lib\nVersion: 1.0\nLicense-Expression: MIT OR Apache-2.0\n",
        )
        archive.writestr(f"{INFO}/licenses/LICENSE", "the text")
        archive.writestr(f"{INFO}/../../LICENSE", "out of the folder")
    with zipfile.ZipFile(folder / "wheels" / "older-1.0-py3-none-any.whl", "w") as archive:
        metadata = (
            "Metadata-Version: 2.1\nName: Older\nVersion: 1.0\nClassifier: License :: OSI Approved :: BSD License\n"
        )
        archive.writestr("older-1.0.dist-info/METADATA", metadata)
    return folder


def run(kit):
    return subprocess.run([sys.executable, INSTALLER.with_name("sbom.py"), kit], capture_output=True, text=True)


def test_every_wheel_and_the_bundle(kit):
    done = run(kit)
    assert done.returncode == 0, done.stderr
    assert "c2llm_lite-1.0-py3-none-any.whl has no text of a license" in done.stderr
    bom = json.loads((kit / "sbom.json").read_text())
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    parts = {part["name"]: part for part in bom["components"]}
    wheel = parts["Some_Lib"]
    digest = hashlib.sha256((kit / "wheels" / "some_lib-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    assert (wheel["version"], wheel["purl"]) == ("1.0", "pkg:pypi/some-lib@1.0")
    assert wheel["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert wheel["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert parts["Older"]["licenses"] == [{"license": {"name": "BSD License"}}]
    assert {path.name for path in (kit / "licenses").rglob("*") if path.is_file()} == {"LICENSE"}
    assert (kit / "licenses/Some_Lib-1.0/licenses/LICENSE").read_text() == "the text"

    opened = bundles.open_bundle(kit / "bundle")
    (model,) = [part for part in bom["components"] if part["type"] == "machine-learning-model"]
    assert model["hashes"] == [{"alg": "SHA-256", "content": opened.sha256}]
    assert {part["name"] for part in model["components"]} == set(opened.manifest.files)
    said = {entry["name"].removeprefix("c2llm-lite:"): entry["value"] for entry in model["properties"]}
    assert (said["source.sha256"], said["quantization"]) == (opened.manifest.source.sha256, "gguf:f32")
    assert float(said["probe.5.cosine"]) > 0.999


def test_the_same_kit_gives_the_same_bytes(kit):
    run(kit)
    before = (kit / "sbom.json").read_bytes()
    run(kit)
    assert (kit / "sbom.json").read_bytes() == before
