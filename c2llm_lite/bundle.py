"""The bundle format: a folder with everything that one target needs, and a manifest to check every byte.

All names of files, tensor keys and types of a bundle are defined here. Nothing in a manifest is trusted before it is
checked: its own hash first, then the format's version, then each field's type and range, then each file's size (and
hash, when asked).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from . import pma, typed_json
from .arguments import as_path
from .errors import ArgumentError, BundleError
from .files import is_file, read_start
from .pma import Variant
from .typed_json import Matches, Range

FORMAT = 1
MANIFEST = "manifest.json"
MANIFEST_HASH = "manifest.sha256"  # as `sha256sum` writes it
SIGNATURE = "manifest.sha256.sig"  # of MANIFEST_HASH, where the bundle is signed
MANIFEST_FILES = (MANIFEST, MANIFEST_HASH, SIGNATURE)  # which the manifest does not list
MANIFEST_BYTES = 16 << 20  # the most that is read
TOKENIZER = "tokenizer.json"
LICENSES = ("LICEN[SC]E*", "NOTICE*")  # the checkpoint's own files, under their own names

# The backbone: GGUF for llama_cpp, a graph and its weights for openvino, safetensors for torch.
GGUF = "backbone.gguf"
OPENVINO_GRAPH, OPENVINO_WEIGHTS = "openvino_model.xml", "openvino_model.bin"
SAFETENSORS = "model.safetensors"
BACKBONE_FILES = (GGUF, OPENVINO_GRAPH, OPENVINO_WEIGHTS, SAFETENSORS)
# Manifest.tensors has each tensor's type by the name that the checkpoint gives the tensor.
EMBED_TOKENS = "embed_tokens.weight"
MATRIX = "_proj.weight"  # what a matrix's name ends with
# The types by the engine's library. ggml: F32, F16, BF16, q8_0, … OpenVINO: F32, BF16, I8, I4. torch: FP32, BF16, and
# bitsandbytes' INT8 and NF4.
F32, F16, BF16 = "f32", "f16", "bf16"
I8, I4, FP32, INT8, NF4 = "i8", "i4", "fp32", "int8", "nf4"

# (vocab, hidden), the values that the checkpoint stores, by the type of EMBED_TOKENS; bf16, which NumPy lacks, as bits.
TOKEN_EMBEDDINGS = "token_embeddings.npy"
TOKEN_EMBEDDINGS_DTYPES: dict[str, np.dtype[Any]] = {
    BF16: np.dtype(np.uint16),
    F16: np.dtype(np.float16),
    F32: np.dtype(np.float32),
}

# float32. Besides the head's own tensors, the matrix and bias of pma.AffineMap if calibration fitted one.
HEAD = "pma.safetensors"
HEAD_TENSORS = pma.TENSORS
MAP_MATRIX, MAP_BIAS = "states_map.matrix", "states_map.bias"

# (probes, width) float32: full precision's vectors, and this target's if it was run when the bundle was made.
PROBES = "probes.safetensors"
REFERENCE_VECTORS, TARGET_VECTORS = "reference", "target"

# The files that a bundle must list: those of every bundle, and those of its engine.
COMMON_FILES = (TOKENIZER, TOKEN_EMBEDDINGS, HEAD, PROBES)
ENGINE_FILES = {"llama_cpp": (GGUF,), "openvino": (OPENVINO_GRAPH, OPENVINO_WEIGHTS), "torch": (SAFETENSORS,)}

# Bounds far beyond any real model's, within which no engine's arithmetic overflows.
Name = Annotated[str, Matches(".{1,255}")]
Text = Annotated[str, Matches(".{0,65536}")]
Sha256 = Annotated[str, Matches("[0-9a-f]{64}")]
Width = Annotated[int, Range(1, 1 << 20)]
Count = Annotated[int, Range(1, 1 << 30)]
Bytes = Annotated[int, Range(0, 1 << 50)]


@dataclass(frozen=True)
class Source:
    """The checkpoint a bundle was made from: its name, its revision where it came from a hub, and its hash."""

    name: Text
    revision: Text | None
    sha256: Sha256


@dataclass(frozen=True)
class Backbone:
    """The shape of a Qwen2 backbone, as its config gives it."""

    hidden: Width
    intermediate: Width
    layers: Annotated[int, Range(1, 512)]  # llama.cpp takes no more
    heads: Width
    kv_heads: Width
    vocab: Count
    rope_theta: Annotated[float, Range(1e-30, 1e30)]
    rms_norm_eps: Annotated[float, Range(1e-30, 1)]
    max_positions: Count
    tied: bool

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads


@dataclass(frozen=True)
class FileRecord:
    """A file's record in the manifest."""

    size: Bytes
    sha256: Sha256


@dataclass(frozen=True)
class Probe:
    """A text by which the bundle verifies itself.

    cosine: this target's vector against full precision, as recorded when the bundle was made; None if the target's own
    vectors were not computed then.
    """

    text: Text
    tokens: Count
    cosine: Annotated[float, Range(-1.001, 1.001)] | None  # rounding may exceed 1


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json."""

    source: Source
    target: Name  # such as "gguf:q8_0"
    engine: Name  # the file in engines/ that runs it
    backbone: Backbone
    head: Variant
    width: Width  # of the embeddings
    max_tokens: Count
    prompts: dict[Name, Text]
    tensors: dict[Name, Name]  # every backbone tensor's type
    memory: Bytes  # needed to run it, plus memory for each batch
    versions: dict[Name, Name]  # of the software that wrote it
    probes: tuple[Probe, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)  # added by the converter: settings, trials
    files: dict[Name, FileRecord] = field(default_factory=dict)
    format: Annotated[int, Range(1, FORMAT)] = FORMAT

    def matrix_type(self) -> str:
        """The type of the backbone's matrices; where there are several, the one that most of them have."""
        types = Counter(kind for name, kind in self.tensors.items() if name.endswith(MATRIX))
        if not types:
            raise BundleError(f"{MANIFEST} lists no matrix of the backbone; convert the checkpoint again")
        return types.most_common(1)[0][0]

    def to_json(self) -> str:
        """The file's content: the same manifest gives the same bytes."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Raises BundleError for a field missing, unknown, of another type or out of range, or a newer format."""
        try:
            data = typed_json.parse(text)
        except ValueError as error:
            raise BundleError(f"{MANIFEST} is not valid JSON: {error}") from None
        if not isinstance(data, dict) or not isinstance(data.get("format"), int):
            raise BundleError(f"{MANIFEST} has no format number; this is not a bundle")
        if data["format"] > FORMAT:
            raise BundleError(
                f"this bundle's format is {data['format']!r:.20}, but this version of c2llm-lite reads formats up to "
                f"{FORMAT}; upgrade c2llm-lite, or convert the checkpoint again with this version"
            )
        try:
            manifest: Manifest = typed_json.build(cls, data, MANIFEST)
            manifest._check()
        except ValueError as error:
            raise BundleError(str(error)) from None
        return manifest

    def _check(self) -> None:
        """Raise ValueError if fields do not fit one another, or a file that is opened is not listed."""
        shape, head = self.backbone, self.head
        if shape.hidden % shape.heads or shape.head_dim % 2 or shape.heads % shape.kv_heads:
            raise ArgumentError(
                f"{MANIFEST}: backbone has {shape.heads} heads and {shape.kv_heads} kv_heads for {shape.hidden} hidden"
            )
        if not 1 <= head.heads <= self.width or self.width % head.heads:
            raise ArgumentError(f"{MANIFEST}: head has {head.heads} heads for a width of {self.width}")
        if self.max_tokens > shape.max_positions:
            raise ArgumentError(f"{MANIFEST}: max_tokens is {self.max_tokens}, and max_positions {shape.max_positions}")
        for name in (*COMMON_FILES, *ENGINE_FILES.get(self.engine, ())):
            if name not in self.files:
                raise ArgumentError(f"{MANIFEST} does not list {name}; copy the bundle again, or convert again")


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest and file sizes were checked."""

    folder: Path
    manifest: Manifest
    sha256: str  # of the manifest: the bundle's identity

    def path(self, name: str) -> Path:
        """A file of the bundle."""
        return self.folder / name

    def unlisted(self) -> list[str]:
        """Names in the folder that the manifest does not list; they are not checked."""
        listed = {*MANIFEST_FILES, *self.manifest.files}
        return sorted(path.name for path in self.folder.iterdir() if path.name not in listed)

    def check(self, name: str) -> None:
        """Raises BundleError if a file is missing, cut, or does not match its hash."""
        _check_file(self.folder, name, self.manifest.files[name], True)


def open_bundle(folder: str | Path, *, check: bool = False) -> Bundle:
    """Read and check a bundle: manifest and sizes always, every file's hash too where `check`.

    Raises BundleError, naming the file, if one is missing, altered, too new or unreadable; ArgumentError for no path.
    """
    folder = as_path(folder, "the bundle")
    try:
        return _opened(folder, check)
    except PermissionError as error:
        raise BundleError(
            f"{error.filename} cannot be read by this user; its owner can allow it with chmod -R a+rX {folder}"
        ) from error


def _opened(folder: Path, check: bool) -> Bundle:
    if not folder.is_dir():
        raise BundleError(f"{folder} is not a folder; a bundle is a folder that `c2llm-lite convert` wrote")
    for name in (MANIFEST, MANIFEST_HASH):
        if not is_file(folder / name):
            raise BundleError(f"{folder} has no {name}; it is not a complete bundle, so convert the checkpoint again")
    content = read_start(folder / MANIFEST, MANIFEST_BYTES)
    digest = hashlib.sha256(content).hexdigest()
    if read_start(folder / MANIFEST_HASH) != hash_line(digest):
        raise BundleError(
            f"{folder}: {MANIFEST} does not match {MANIFEST_HASH}; copy the bundle again, or convert again"
        )
    try:
        manifest = Manifest.from_json(content.decode())
    except (BundleError, UnicodeDecodeError) as error:
        raise BundleError(f"{folder}: {error}") from None
    for name, record in manifest.files.items():
        _check_file(folder, name, record, check)
    return Bundle(folder, manifest, digest)


def seal(folder: Path, manifest: Manifest, *, changed: Collection[str] | None = None) -> Bundle:
    """Record every file in `folder` in the manifest and write it.

    changed: the only files that differ from the manifest's records, which saves reading the others again.
    """
    names = sorted(p.name for p in folder.iterdir() if p.name not in MANIFEST_FILES)
    kept = {} if changed is None else {n: record for n, record in manifest.files.items() if n not in changed}
    files = {n: kept.get(n) or FileRecord((folder / n).stat().st_size, file_sha256(folder / n)) for n in names}
    sealed = replace(manifest, files=files)
    content = sealed.to_json().encode()
    digest = hashlib.sha256(content).hexdigest()
    (folder / MANIFEST).write_bytes(content)
    (folder / MANIFEST_HASH).write_bytes(hash_line(digest))
    return Bundle(folder, sealed, digest)


def file_sha256(path: Path) -> str:
    """The hash of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _check_file(folder: Path, name: str, record: FileRecord, check: bool) -> None:
    path = folder / name
    if Path(name).name != name:
        raise BundleError(f"{folder}: {MANIFEST} names {name!r}, which is not a file of the bundle")
    if not is_file(path):
        raise BundleError(f"{folder}: {name} is missing; copy the bundle again, or convert again")
    with path.open("rb") as file:  # the libraries that open it later call what they may not read missing or damaged
        size = os.fstat(file.fileno()).st_size
    if size != record.size:
        raise BundleError(
            f"{folder}: {name} has {size} bytes, not {record.size}; it is truncated or altered, so copy it again"
        )
    if check and file_sha256(path) != record.sha256:
        raise BundleError(f"{folder}: {name} does not match its sha256; copy the bundle again, or convert again")


def hash_line(digest: str) -> bytes:
    """The content of MANIFEST_HASH, which `sha256sum --check` reads."""
    return f"{digest}  {MANIFEST}\n".encode()
