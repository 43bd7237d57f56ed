"""A signed bundle is opened with its maker's public key alone, and only as the maker left it; openssl agrees."""

from __future__ import annotations

import pickle
import shutil
import subprocess

import pytest
from signing import make_key

import c2llm_lite
from c2llm_lite import bundle as bundles
from c2llm_lite.errors import ArgumentError, BundleError, MissingDependencyError, OutputError
from c2llm_lite.signature import open_bundle, sign

pytest.importorskip("cryptography")
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the keys are made with openssl")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for name in ("maker", "other"):
        make_key(folder, name)
    make_key(folder, "p384", "secp384r1")
    return folder


@pytest.fixture
def signed(f32_bundle, keys, tmp_path):
    folder = shutil.copytree(f32_bundle, tmp_path / "bundle")
    sign(folder, keys / "maker.key")
    return folder


def test_a_signed_bundle_embeds(signed, keys):
    with c2llm_lite.load(signed, threads=1, public_key=keys / "maker.pub") as model:
        assert model.embed("x").shape == (model.dim,)


def test_openssl_verifies_what_sign_wrote(signed, keys):
    signature, content = signed / bundles.SIGNATURE, signed / bundles.MANIFEST_HASH
    command = ["openssl", "dgst", "-sha256", "-verify", keys / "maker.pub", "-signature", signature, content]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "Verified OK\n"


def test_what_openssl_signs_is_verified(signed, keys):
    signature, content = signed / bundles.SIGNATURE, signed / bundles.MANIFEST_HASH
    subprocess.run(["openssl", "dgst", "-sha256", "-sign", keys / "other.key", "-out", signature, content], check=True)
    open_bundle(signed, public_key=keys / "other.pub")


def test_the_same_key_and_bundle_give_the_same_signature(signed, keys):
    before = (signed / bundles.SIGNATURE).read_bytes()
    with pytest.raises(OutputError, match="replace the signature with --force"):
        sign(signed, keys / "maker.key")
    sign(signed, keys / "maker.key", replace=True)
    assert (signed / bundles.SIGNATURE).read_bytes() == before


def test_any_of_several_keys_will_do(signed, keys):
    both = [keys / "other.pub", keys / "maker.pub"]
    assert open_bundle(signed, public_key=both).sha256 == open_bundle(signed).sha256
    with pytest.raises(BundleError, match="no given public key belongs to"):
        open_bundle(signed, public_key=both[:1])
    with pytest.raises(ArgumentError, match="public_key is empty"):
        open_bundle(signed, public_key=[])


def test_every_file_is_hashed(signed, keys):
    """One changed byte of any file, the signature's own included."""
    for path in sorted(signed.iterdir()):
        whole = path.read_bytes()
        changed = bytearray(whole)
        changed[len(whole) // 2] ^= 1
        path.write_bytes(changed)
        with pytest.raises(BundleError):
            c2llm_lite.load(signed, threads=1, public_key=keys / "maker.pub")
        path.write_bytes(whole)
    open_bundle(signed, public_key=keys / "maker.pub")


def test_every_byte_of_the_signature_counts(signed, keys):
    path = signed / bundles.SIGNATURE
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(BundleError):
            open_bundle(signed, public_key=keys / "maker.pub")


@pytest.mark.parametrize("name", [bundles.SIGNATURE, bundles.MANIFEST_HASH])
def test_a_huge_file_is_not_read_into_memory(signed, keys, name):
    with (signed / name).open("r+b") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(BundleError):
        open_bundle(signed, public_key=keys / "maker.pub")


def test_a_manifest_made_to_fit_its_changed_files_is_refused(signed, keys):
    (signed / "LICENSE").write_text("another")
    bundles.seal(signed, open_bundle_manifest(signed))
    bundles.open_bundle(signed, check=True)  # its hashes are right
    with pytest.raises(BundleError, match="no given public key belongs to"):
        c2llm_lite.load(signed, public_key=keys / "maker.pub")


def open_bundle_manifest(folder):
    return bundles.Manifest.from_json((folder / bundles.MANIFEST).read_text())


def test_an_unsigned_bundle_and_one_of_another_maker_are_refused(signed, keys):
    sign(signed, keys / "other.key", replace=True)
    with pytest.raises(BundleError, match="another key signed it"):
        open_bundle(signed, public_key=keys / "maker.pub")
    (signed / bundles.SIGNATURE).unlink()
    with pytest.raises(BundleError, match=r"has no manifest\.sha256\.sig"):
        open_bundle(signed, public_key=keys / "maker.pub")


@pytest.mark.parametrize("name", ["model.safetensors", "__pycache__"])
def test_what_the_manifest_does_not_list_is_refused(signed, keys, name):
    (signed / name).mkdir() if name.startswith("_") else (signed / name).write_bytes(b"x")
    with pytest.raises(BundleError, match=f"{name}' not listed in manifest"):
        open_bundle(signed, public_key=keys / "maker.pub")
    with pytest.raises(BundleError, match="not listed"):
        sign(signed, keys / "maker.key", replace=True)


def test_a_revoked_bundle_is_refused(signed, keys, tmp_path):
    revoked, public = tmp_path / "revoked.txt", keys / "maker.pub"
    revoked.write_text(f"# none of ours\n\n{'0' * 64}  manifest.json\n")
    open_bundle(signed, public_key=public, revoked=revoked)
    revoked.write_bytes(revoked.read_bytes() + (signed / bundles.MANIFEST_HASH).read_bytes())
    with pytest.raises(BundleError, match="is revoked"):
        c2llm_lite.load(signed, public_key=public, revoked=revoked)
    revoked.write_text("0" * 64 + "\n12345\n")
    with pytest.raises(ArgumentError, match=r"revoked\.txt, line 2: not a SHA-256"):
        open_bundle(signed, public_key=public, revoked=revoked)
    with pytest.raises(ArgumentError, match="needs a public key"):
        open_bundle(signed, revoked=revoked)


def test_unpickling_checks_again(signed, keys, monkeypatch):
    monkeypatch.chdir(keys)
    with c2llm_lite.load(signed, threads=1, public_key="maker.pub") as model:
        pickled = pickle.dumps(model)
    monkeypatch.chdir(signed)
    pickle.loads(pickled).close()
    (signed / "LICENSE").write_bytes((signed / "LICENSE").read_bytes()[::-1])
    with pytest.raises(BundleError, match="LICENSE does not match"):
        pickle.loads(pickled)


def test_a_damaged_bundle_is_not_signed(f32_bundle, keys, tmp_path):
    folder = shutil.copytree(f32_bundle, tmp_path / "bundle")
    (folder / "LICENSE").write_bytes((folder / "LICENSE").read_bytes()[::-1])
    with pytest.raises(BundleError, match="LICENSE does not match"):
        sign(folder, keys / "maker.key")
    with pytest.raises(ArgumentError, match="has neither"):
        sign(keys, keys / "maker.key")


def test_wrong_keys_are_named(signed, keys, tmp_path):
    for name, message in {
        "maker.key": "is not a public key in PEM",
        "p384.pub": "not a key on the curve P-256",
    }.items():
        with pytest.raises(ArgumentError, match=rf"{name}.*{message}"):
            open_bundle(signed, public_key=keys / name)
    encrypted = tmp_path / "encrypted.key"
    command = ["openssl", "pkey", "-in", keys / "maker.key", "-aes256", "-passout", "pass:word", "-out", encrypted]
    subprocess.run(command, check=True)
    for path, message in {
        keys / "maker.pub": "is not a private key in PEM",
        keys / "p384.key": "is not a key on the curve P-256",
        encrypted: "is encrypted; decrypt it",
    }.items():
        with pytest.raises(ArgumentError, match=message):
            sign(signed, path, replace=True)
    with pytest.raises(ArgumentError, match="public_key is 5"):
        open_bundle(signed, public_key=5)  # type: ignore[arg-type]


def test_without_cryptography_the_extra_is_named(signed, keys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cryptography", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'c2llm-lite\[sign\]'"):
        open_bundle(signed, public_key=keys / "maker.pub")
