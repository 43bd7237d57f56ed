"""Arrays with correct hashes and wrong contents: each is a BundleError that names the file."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from c2llm_lite import bundle as bundles
from c2llm_lite import load
from c2llm_lite.errors import BundleError
from c2llm_lite.verify import read_reference, verify

Reseal = Callable[[Path, str, bytes], None]


@pytest.fixture
def copy(f32_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(f32_bundle, tmp_path / "bundle")


@pytest.fixture
def reseal(f32_bundle: Path) -> Reseal:
    """Replaces a file and records its hash."""

    def replace(folder: Path, name: str, content: bytes) -> None:
        (folder / name).write_bytes(content)
        bundles.seal(folder, bundles.open_bundle(f32_bundle).manifest)

    return replace


def npy(header: str, rows: bytes, version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header.encode() + rows


SIZE = 400 * 64 * 2
RIGHT = "{'descr': '<u2', 'fortran_order': False, 'shape': (400, 64), }"


@pytest.mark.parametrize(
    "content",
    [
        npy("{'descr': '<f2', 'fortran_order': False, 'shape': (400, 64), }", bytes(SIZE)),
        npy("{'descr': '<u2', 'fortran_order': True, 'shape': (400, 64), }", bytes(SIZE)),
        npy("{'descr': '<u2', 'fortran_order': False, 'shape': (64, 400), }", bytes(SIZE)),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (400, 64), }", bytes(SIZE)),
        npy("{'descr': '<u2', 'fortran_order': False, 'shape': (10**20, 64), }", bytes(SIZE)),
        npy("(" * 30_000, bytes(SIZE)),
        npy("{'a':\n  \t 1\n b", bytes(SIZE)),
        npy("\x00" * 100, bytes(SIZE)),
        npy(RIGHT, bytes(SIZE - 1)),
        npy(RIGHT, bytes(SIZE + 1)),
        npy(RIGHT, bytes(SIZE), version=b"\x02\x00"),
        b"PK\x03\x04" + bytes(SIZE),
        b"",
    ],
)
def test_a_npy_that_is_not_the_manifest_s_is_refused(copy: Path, reseal: Reseal, content: bytes) -> None:
    reseal(copy, bundles.TOKEN_EMBEDDINGS, content)
    with pytest.raises(BundleError, match=r"token_embeddings\.npy is not a token embedding of \(400, 64\): "):
        load(copy, check=True)


def test_a_npy_padded_otherwise_is_the_same(copy: Path, reseal: Reseal) -> None:
    plain = load(copy).embed("def f(): pass")
    rows = (copy / bundles.TOKEN_EMBEDDINGS).read_bytes()[-SIZE:]
    reseal(copy, bundles.TOKEN_EMBEDDINGS, npy(RIGHT + 500 * " " + "\n", rows))
    np.testing.assert_array_equal(load(copy).embed("def f(): pass"), plain)


def bf16(shape: tuple[int, ...], name: str) -> bytes:
    size = 2 * int(np.prod(shape))
    header = json.dumps({name: {"dtype": "BF16", "shape": shape, "data_offsets": [0, size]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(size)


def saved(path: Path, change: Callable[[dict[str, Any]], Any]) -> bytes:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    return path.read_bytes()


PROBES: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda t: t.pop("reference"), "has no reference"),
    (lambda t: t.update(reference=t["reference"][:2]), "reference does not contain the probes' vectors"),
    (lambda t: t.update(target=t["target"][:, :2].copy()), "target does not contain the probes' vectors"),
    (lambda t: t.update(target=t["target"].astype(np.float64)), "target is float64, not float32"),
    (lambda t: t["reference"].fill(np.nan), "reference does not contain the probes' vectors"),
]


@pytest.mark.parametrize(("change", "message"), PROBES)
def test_probes_that_are_not_the_manifest_s_are_refused(
    copy: Path, reseal: Reseal, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    reseal(copy, bundles.PROBES, saved(copy / bundles.PROBES, change))
    with pytest.raises(BundleError, match=rf"probes\.safetensors.*{message}"):
        verify(copy)


def test_probes_in_a_type_that_numpy_lacks_are_refused(copy: Path, reseal: Reseal) -> None:
    reseal(copy, bundles.PROBES, bf16((6, 64), "reference"))
    with pytest.raises(BundleError, match=r"probes\.safetensors cannot be read"):
        verify(copy)


HEADS: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda t: t.pop("S"), "has no S"),
    (lambda t: t.update(S=t["S"].astype(np.float16)), "S is float16, not float32"),
    (lambda t: t.update({"mab.fc_k.weight": np.array(1, np.float32)}), "does not contain the head"),
    (lambda t: t.update({"states_map.matrix": np.eye(64, dtype=np.float32)}), "are not a map"),
    (
        lambda t: t.update({"states_map.matrix": np.ones((64, 3), np.float32), "states_map.bias": np.ones(64, "<f4")}),
        "are not a map",
    ),
]


@pytest.mark.parametrize(("change", "message"), HEADS)
def test_a_head_that_is_not_the_manifest_s_is_refused(
    copy: Path, reseal: Reseal, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    reseal(copy, bundles.HEAD, saved(copy / bundles.HEAD, change))
    with pytest.raises(BundleError, match=rf"pma\.safetensors.*{message}"):
        load(copy)


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, struct.pack("<Q", 1 << 40) + b"{}", bf16((64,), "S")])
def test_a_head_that_cannot_be_read_is_refused(copy: Path, reseal: Reseal, content: bytes) -> None:
    reseal(copy, bundles.HEAD, content)
    with pytest.raises(BundleError, match=r"pma\.safetensors cannot be read"):
        load(copy)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04" + bytes(100), npy("(" * 30_000, b""), npy("{'a':\n  \t 1\n b", b""), npy(RIGHT, b"1")],
)
def test_reference_vectors_that_are_no_npy_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"r\.npy is not a \.npy file of vectors"):
        read_reference(tmp_path / "r.npy", ["a text"])
    np.save(tmp_path / "r.npy", np.array([["a"]]))
    with pytest.raises(ValueError, match="one array of numbers"):
        read_reference(tmp_path / "r.npy", ["a text"])
