"""`verify` reports every damage to a bundle's files, and nothing kills the interpreter."""

from __future__ import annotations

import random
import shutil

import pytest

import c2llm_lite
from c2llm_lite import bundle as bundles
from c2llm_lite.errors import BundleError
from c2llm_lite.verify import verify

FLIPS = 200


@pytest.fixture
def bundle(f32_bundle, tmp_path):
    return shutil.copytree(f32_bundle, tmp_path / "bundle")


def _files(bundle):
    return sorted(p for p in bundle.iterdir() if p.name not in (bundles.MANIFEST, bundles.MANIFEST_HASH))


def test_an_undamaged_bundle_passes(bundle):
    assert all(result.passed and result.own > 0.99999 for result in verify(bundle))
    assert {p.name for p in _files(bundle)} == {
        *("backbone.gguf", "pma.safetensors", "token_embeddings.npy", "tokenizer.json", "probes.safetensors"),
        *("LICENSE", "NOTICE"),
    }


def test_a_flipped_byte_anywhere_is_reported(bundle):
    draw = random.Random(0)
    for path in _files(bundle):
        whole = path.read_bytes()
        for _ in range(FLIPS):
            position = draw.randrange(len(whole))
            flipped = bytearray(whole)
            flipped[position] ^= 1 << draw.randrange(8)
            path.write_bytes(flipped)
            with pytest.raises(BundleError, match=path.name.replace(".", r"\.") + " does not match its sha256"):
                verify(bundle)
        path.write_bytes(whole)
    assert all(result.passed for result in verify(bundle))


def test_a_file_cut_short_or_missing_is_reported_by_every_load(bundle):
    for path in _files(bundle):
        whole = path.read_bytes()
        for kept in (0, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:kept])
            with pytest.raises(BundleError, match="it is truncated or altered"):
                c2llm_lite.load(bundle)
        path.unlink()
        with pytest.raises(BundleError, match="is missing"):
            c2llm_lite.load(bundle)
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["tokenizer.json", "pma.safetensors", "token_embeddings.npy", "backbone.gguf"])
def test_rubbish_of_the_right_size_is_reported_even_where_hashes_are_not_checked(bundle, name):
    path = bundle / name
    path.write_bytes(random.Random(0).randbytes(path.stat().st_size))
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        c2llm_lite.load(bundle)


def test_a_backbone_that_computes_otherwise_fails_its_probes(bundle):
    import gguf

    reader = gguf.GGUFReader(bundle / "backbone.gguf", "r+")
    (weights,) = (t.data for t in reader.tensors if t.name == "blk.1.ffn_down.weight")
    weights[:] *= 1.5
    weights.base.flush() if hasattr(weights.base, "flush") else reader.data.flush()
    opened = bundles.open_bundle(bundle)
    bundles.seal(bundle, opened.manifest)
    assert not all(result.passed for result in verify(bundle))
