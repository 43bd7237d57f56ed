"""What the first step in docs/air-gap.md refuses, before anything of the kit runs; `install.sh --public-key` agrees."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from document_blocks import blocks, steps
from kits import install, seal_kit, write_kit
from signing import make_key

from c2llm_lite import bundle as bundles

pytest.importorskip("cryptography")
from c2llm_lite.signature import sign

PAGE = Path(__file__).parents[2] / "docs/air-gap.md"
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the first step needs openssl")


@pytest.fixture(scope="module")
def made(f32_bundle, tmp_path_factory):
    """A folder with a signed kit, its maker's public key, and a key of somebody else."""
    folder = tmp_path_factory.mktemp("signed")
    for name in ("signer", "other"):
        make_key(folder, name)
    kit = write_kit(folder / "kit")
    shutil.copytree(f32_bundle, kit / "bundle", dirs_exist_ok=True)
    sign(kit / "bundle", folder / "signer.key")
    seal_kit(kit)
    sign(kit, folder / "signer.key")
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "made")


def passes_first_step(folder: Path) -> bool:
    """Run the documented commands in the kit's folder: whether each exits with 0 and prints what the page shows."""
    (block,) = [block for block in blocks(PAGE) if "-verify ../signer.pub" in block.body]
    change, *commands = steps(block.body)
    assert change.command == "cd kit"
    assert len(commands) == 3
    for step in commands:
        done = subprocess.run(["bash", "-c", step.command], cwd=folder / "kit", capture_output=True, text=True)
        if done.returncode or done.stdout != step.printed:
            return False
    return True


def refused(folder: Path) -> bool:
    """By the first step, and by the installer with the public key, which leaves nothing."""
    if passes_first_step(folder):
        return False
    # The maker's installer: the kit's own may be what was changed.
    shutil.copy(Path(__file__).parents[2] / "airgap/install.sh", folder / "kit" / "install.sh")
    done = install(folder / "kit", "--public-key", folder / "signer.pub", folder / "here")
    return done.returncode == 1 and not (folder / "here").exists() and "installed" not in done.stdout


def test_the_kit_as_it_was_made_passes(folder):
    assert passes_first_step(folder)
    done = install(folder / "kit", "--public-key", folder / "signer.pub", folder / "here")
    assert "Verified OK" in done.stdout
    assert done.returncode == 0, done.stderr
    assert "installed. Try:" in done.stdout


def test_one_byte_changed_anywhere(folder):
    files = [path for path in sorted((folder / "kit").rglob("*")) if path.is_file()]
    assert {"SHA256SUMS", "SHA256SUMS.sig", "install.sh", "manifest.json"} <= {path.name for path in files}
    for path in files:
        whole = path.read_bytes()
        for position in {0, len(whole) // 2, len(whole) - 1}:
            changed = bytearray(whole)
            changed[position] ^= 1
            path.write_bytes(changed)
            assert not passes_first_step(folder), (path, position)
        path.write_bytes(whole)
    assert passes_first_step(folder)


def test_a_wheel_swapped_together_with_its_checksum(folder):
    (folder / "kit/wheels/c2llm_lite-1.0-py3-none-any.whl").write_bytes(b"another")
    seal_kit(folder / "kit")
    assert refused(folder)


def test_a_wheel_swapped_and_signed_with_another_key(folder):
    (folder / "kit/wheels/c2llm_lite-1.0-py3-none-any.whl").write_bytes(b"another")
    seal_kit(folder / "kit")
    sign(folder / "kit", folder / "other.key", replace=True)
    assert refused(folder)


@pytest.mark.parametrize("sums_too", [False, True])
def test_a_bundle_swapped_with_its_manifest(folder, sums_too):
    bundle = folder / "kit" / "bundle"
    manifest = bundles.open_bundle(bundle).manifest
    (bundle / "LICENSE").write_text("another")
    bundles.seal(bundle, manifest)
    bundles.open_bundle(bundle, check=True)  # its own hashes are right
    if sums_too:
        seal_kit(folder / "kit")
    assert refused(folder)


@pytest.mark.parametrize("name", ["wheels/numpy-99.0-py3-none-any.whl", "a\n./install.sh", ".hidden"])
def test_a_file_is_added(folder, name):
    (folder / "kit" / name).parent.mkdir(exist_ok=True)
    (folder / "kit" / name).write_bytes(b"added")
    assert refused(folder)


def test_a_link_to_a_folder_is_added(folder):
    (folder / "kit" / "more").symlink_to(folder)
    assert refused(folder)


def test_a_file_is_missing(folder):
    (folder / "kit/wheels/c2llm_lite-1.0-py3-none-any.whl").unlink()
    assert refused(folder)


def test_the_signature_of_a_bundle_does_not_sign_a_kit(folder):
    """The signer's own signature, moved: its one line does not name the installer."""
    kit = folder / "kit"
    shutil.copy(kit / "bundle" / bundles.SIGNATURE, kit / "SHA256SUMS.sig")
    shutil.copy(kit / "bundle" / bundles.MANIFEST_HASH, kit / "SHA256SUMS")
    shutil.copy(kit / "bundle" / bundles.MANIFEST, kit)
    assert refused(folder)


def test_an_unsigned_kit_is_refused_with_a_key(folder):
    (folder / "kit" / "SHA256SUMS.sig").unlink()
    assert refused(folder)
