"""The bundle: a folder that holds everything one target needs, and a manifest against which each byte can be checked.

Nothing in a manifest is believed before it is checked: its own hash first, then the format's version, then each field's
type, then each file's size (and hash, when asked).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from .errors import BundleError
from .pma import Variant

FORMAT = 1
MANIFEST = "manifest.json"
MANIFEST_HASH = "manifest.sha256"
TOKENIZER = "tokenizer.json"
HEAD = "pma.safetensors"
TOKEN_EMBEDDINGS = "token_embeddings.npy"
PROBES = "probes.safetensors"


@dataclass(frozen=True)
class Source:
    """The checkpoint a bundle was made from: its name, its revision where it came from a hub, and its hash."""

    name: str
    revision: str | None
    sha256: str


@dataclass(frozen=True)
class Backbone:
    """The shape of a Qwen2 backbone, as its config gives it."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int
    rope_theta: float
    rms_norm_eps: float
    max_positions: int
    tied: bool

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads


@dataclass(frozen=True)
class FileRecord:
    size: int  # bytes
    sha256: str


@dataclass(frozen=True)
class Probe:
    """A text by which the bundle proves itself. `cosine`: this target's vector against full precision, as recorded when
    the bundle was made; None where the target's own vectors were not taken.
    """

    text: str
    tokens: int
    cosine: float | None


@dataclass(frozen=True)
class Manifest:
    source: Source
    target: str  # such as "gguf:q8_0"
    engine: str  # the file in engines/ that runs it
    backbone: Backbone
    head: Variant
    width: int  # of the embeddings
    max_tokens: int
    prompts: dict[str, str]
    tensors: dict[str, str]  # every backbone tensor's type
    memory: int  # bytes that running it takes, beside what a batch takes
    versions: dict[str, str]  # of what wrote it
    probes: tuple[Probe, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)  # what a target's converter adds: settings, trials
    files: dict[str, FileRecord] = field(default_factory=dict)
    format: int = FORMAT

    def matrix_type(self) -> str:
        """The type of the backbone's matrices; where there are several, the one that most of them have."""
        types = Counter(kind for name, kind in self.tensors.items() if name.endswith("_proj.weight"))
        if not types:
            raise BundleError(f"{MANIFEST} lists no matrix of the backbone; convert the checkpoint again")
        return types.most_common(1)[0][0]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Raises BundleError where a field is missing, surplus or of another type, or the format is newer than ours."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise BundleError(f"{MANIFEST} is not JSON: {error}") from None
        if not isinstance(data, dict) or not isinstance(data.get("format"), int):
            raise BundleError(f"{MANIFEST} has no format number: this is not a bundle")
        if data["format"] > FORMAT:
            raise BundleError(
                f"this bundle's format is {data['format']} and this version of c2llm-lite reads up to {FORMAT}: "
                "upgrade c2llm-lite, or convert the checkpoint again with this version"
            )
        manifest: Manifest = _build(cls, data, MANIFEST)
        return manifest


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest and file sizes were checked."""

    folder: Path
    manifest: Manifest
    sha256: str  # of the manifest: the bundle's identity

    def path(self, name: str) -> Path:
        return self.folder / name


def open_bundle(folder: str | Path, *, check: bool = False) -> Bundle:
    """Read and check a bundle: manifest and sizes always, every file's hash too where `check`.

    Raises BundleError, naming the file, where something is missing, cut, altered, newer than this version, or not to be
    read by this user.
    """
    folder = Path(folder)
    try:
        return _opened(folder, check)
    except PermissionError as error:
        raise BundleError(
            f"{error.filename} may not be read by this user: its owner can allow it with chmod -R a+rX {folder}"
        ) from error


def _opened(folder: Path, check: bool) -> Bundle:
    if not folder.is_dir():
        raise BundleError(f"{folder} is not a folder: a bundle is the folder that `c2llm-lite convert` wrote")
    for name in (MANIFEST, MANIFEST_HASH):
        if not (folder / name).is_file():
            raise BundleError(f"{folder} has no {name}: not a bundle, or not a whole one; convert the checkpoint again")
    content = (folder / MANIFEST).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if (folder / MANIFEST_HASH).read_bytes() != _hash_line(digest):
        raise BundleError(
            f"{folder}: {MANIFEST} does not match {MANIFEST_HASH}: one was altered; convert or copy it again"
        )
    try:
        manifest = Manifest.from_json(content.decode())
    except (BundleError, UnicodeDecodeError) as error:
        raise BundleError(f"{folder}: {error}") from None
    for name, record in manifest.files.items():
        _check_file(folder, name, record, check)
    return Bundle(folder, manifest, digest)


def seal(folder: Path, manifest: Manifest) -> Bundle:
    """Record every file in `folder` in the manifest and write it; called again, it seals what has changed."""
    names = sorted(p.name for p in folder.iterdir() if p.name not in (MANIFEST, MANIFEST_HASH))
    files = {name: FileRecord((folder / name).stat().st_size, file_sha256(folder / name)) for name in names}
    sealed = Manifest(**{f.name: getattr(manifest, f.name) for f in fields(manifest)} | {"files": files})
    content = sealed.to_json().encode()
    digest = hashlib.sha256(content).hexdigest()
    (folder / MANIFEST).write_bytes(content)
    (folder / MANIFEST_HASH).write_bytes(_hash_line(digest))
    return Bundle(folder, sealed, digest)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _check_file(folder: Path, name: str, record: FileRecord, check: bool) -> None:
    path = folder / name
    if Path(name).name != name:
        raise BundleError(f"{folder}: {MANIFEST} names {name!r}, which is not a file of the bundle")
    if not path.is_file():
        raise BundleError(f"{folder}: {name} is missing; convert or copy the bundle again")
    with path.open("rb") as file:  # the libraries that open it later call what they may not read missing or damaged
        size = os.fstat(file.fileno()).st_size
    if size != record.size:
        raise BundleError(f"{folder}: {name} has {size} bytes, not {record.size}: it was cut or altered; copy it again")
    if check and file_sha256(path) != record.sha256:
        raise BundleError(
            f"{folder}: {name} does not match its sha256: it was altered; convert or copy the bundle again"
        )


def _hash_line(digest: str) -> bytes:
    return f"{digest}  {MANIFEST}\n".encode()  # what `sha256sum --check` reads


def _build(cls: type[Any], data: Any, where: str) -> Any:
    """A dataclass from JSON, field by field and type by type."""
    if not isinstance(data, dict):
        raise BundleError(f"{where} is not an object")
    hints = get_type_hints(cls)
    if set(data) != set(hints):
        odd = ", ".join(sorted(set(data) ^ set(hints)))
        raise BundleError(f"{where} has missing or unknown fields: {odd}")
    return cls(**{name: _value(hint, data[name], f"{where}: {name}") for name, hint in hints.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    """`value` as `hint` says, or BundleError."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if hasattr(hint, "__dataclass_fields__"):
        return _build(hint, value, where)
    if origin is dict and isinstance(value, dict):
        return {key: _value(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is tuple and isinstance(value, list):
        return tuple(_value(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if NoneType in args:
        return None if value is None else _value(args[0], value, where)
    if hint is float and type(value) is int:
        return float(value)
    if value in args or type(value) is hint:  # a Literal's words, or a plain type
        return value
    raise BundleError(f"{where} is {value!r}, which is not {getattr(hint, '__name__', hint)}")
