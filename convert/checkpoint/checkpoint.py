"""C2LLM checkpoints, read lazily: tensor by tensor, without torch, and without running the code in their folder.

A checkpoint is a folder of config.json, tokenizer.json and safetensors. Tensors go by their tail names (`norm.weight`,
`layers.0.mlp.up_proj.weight`, `mha_pma.S`), whatever the prefix: the authors' own files say
`plm_model.model.`, a re-saved one may not. What is missing, surplus or of a wrong shape is refused on opening; NaN and
infinity when the tensor is read, so that opening 15 GB stays quick and no conversion misses them.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from c2llm_lite import pma
from c2llm_lite.arguments import as_path
from c2llm_lite.bundle import HEAD_TENSORS, Backbone
from c2llm_lite.errors import ArgumentError, CheckpointError
from c2llm_lite.tokenizer_check import read_tokenizer

from . import config as fields
from .hub import download, is_hub_name
from .licenses import license_files
from .safetensors_file import Dtype, Stored, StoredTensor, read_header, reading, widen

PMA = "mha_pma."
_TAIL = re.compile(r"(?:^|\.)((?:embed_tokens|norm|lm_head)\.weight|layers\.\d+\..+|mha_pma\..+)$")
_IGNORED = "rotary_emb.inv_freq"  # a buffer that older releases of transformers saved; it follows from rope_theta
_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_MAX_JSON = 10_000_000  # bytes of config.json, or of the shards' index
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


class Checkpoint:
    """A valid C2LLM checkpoint. Made by open_checkpoint; its values are read from the disk when asked for.

    folder; name and revision (the hub's, or the folder's name and None); config as written; backbone; variant, of the
    head; max_tokens, of a text, prefix included; tokenizer_file; license_files.
    """

    def __init__(self, folder: Path, name: str, revision: str | None) -> None:
        """Raises CheckpointError, saying what is wrong and with which file, field or tensor."""
        self.folder, self.name, self.revision = folder, name, revision
        self.config: dict[str, Any] = _read_json(folder / "config.json")
        self._files = _weight_files(folder)
        self._tensors = _by_tail_name(self._files)
        if not any(tail.startswith(PMA) for tail in self._tensors):
            raise CheckpointError(
                f"{name} is not a C2LLM checkpoint: it has no {PMA}* tensors, the pooling head. "
                "Pass codefuse-ai/C2LLM-0.5B, codefuse-ai/C2LLM-7B, or a folder that contains one of them"
            )
        self.backbone = fields.backbone(self.config, "lm_head.weight" in self._tensors)
        self.variant = fields.variant(self.config, self.backbone.layers)
        self.max_tokens = fields.max_tokens(self.config)
        self._check_tensors()
        self.tokenizer_file = folder / "tokenizer.json"
        if not self.tokenizer_file.is_file():
            raise CheckpointError(
                f"{name} has no tokenizer.json; copy it from the source of the weights, or write it with "
                "transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
            )
        try:
            read_tokenizer(self.tokenizer_file)
        except ValueError as error:
            raise CheckpointError(
                f"{name}: tokenizer.json is not a byte-level BPE tokenizer that this version reads: {error}"
            ) from error
        self.license_files = license_files(folder)

    def first_layers(self, layers: int) -> Checkpoint:
        """The same checkpoint with a backbone that ends after its first `layers`; the final norm and the head stay.

        Its name, revision and hash are the whole checkpoint's. Raises ArgumentError unless there are as many layers.
        """
        if not 1 <= layers <= self.backbone.layers:
            raise ArgumentError(f"{self.name} has {self.backbone.layers} layers, so {layers} cannot be kept")
        cut = copy.copy(self)
        cut.backbone = replace(self.backbone, layers=layers)
        kept = tuple(f"layers.{number}." for number in range(layers))
        cut._tensors = {
            tail: tensor
            for tail, tensor in self._tensors.items()
            if tail.startswith(kept) or not tail.startswith("layers.")
        }
        return cut

    def names(self) -> list[str]:
        """Canonical names of all tensors."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        return self._tensors[name].shape

    def stored_bytes(self, name: str) -> int:
        """The size of a tensor in its file."""
        return self._tensors[name].bytes

    def stored(self, name: str) -> tuple[Stored, Dtype]:
        """The exact stored values, mapped read-only, and their type; BF16 comes as its bits in uint16.

        Raises CheckpointError if one is NaN or infinite.
        """
        return self._tensors[name].read(), self._tensors[name].dtype

    def tensor(self, name: str) -> NDArray[np.float32]:
        """The values in float32; a view of the file where they are stored so. Raises as `stored` does."""
        return widen(*self.stored(name))

    def head(self) -> dict[str, pma.Array]:
        """The head's tensors as a bundle has them: by the names of HEAD_TENSORS, float32."""
        return {name: self.tensor(PMA + name) for name in HEAD_TENSORS}

    @cached_property
    def sha256(self) -> str:
        """Of config.json and the weights: each file's name and size, then its bytes, in that order."""
        digest = hashlib.sha256()
        for path in (self.folder / "config.json", *self._files):
            with reading(path), path.open("rb") as file:
                digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
                while block := file.read(1 << 22):
                    digest.update(block)
        return digest.hexdigest()

    def _check_tensors(self) -> None:
        if self.backbone.layers > len(self._tensors):  # before as many names are built
            raise CheckpointError(
                f"{self.name}: config.json says num_hidden_layers {self.backbone.layers}, but the weights have "
                f"{len(self._tensors)} tensors; copy config.json again"
            )
        wanted = _backbone_shapes(self.backbone)
        if "lm_head.weight" in self._tensors:  # the 7B stores one; embeddings never use it
            wanted["lm_head.weight"] = (self.backbone.vocab, self.backbone.hidden)
        expected = set(wanted) | {PMA + name for name in HEAD_TENSORS}
        if missing := sorted(expected - self._tensors.keys()):
            raise CheckpointError(f"{self.name} lacks {_some(missing)}; download all of its files again")
        if surplus := sorted(self._tensors[tail].name for tail in self._tensors.keys() - expected):
            raise CheckpointError(f"{self.name} has {_some(surplus)}, which C2LLM does not have; it is another model")
        for tail, shape in wanted.items():
            if self.shape(tail) != shape:
                raise CheckpointError(
                    f"{self.name}: {self._tensors[tail].name} has shape {self.shape(tail)}, but config.json says "
                    f"{shape}"
                )
        try:
            pma.check_shapes({n: self.shape(PMA + n) for n in HEAD_TENSORS}, self.backbone.hidden, self.variant)
        except ValueError as error:
            raise CheckpointError(f"{self.name}: {error}") from error
        width = self.shape(f"{PMA}S")[-1]
        if self.config.get("compress_dim") not in (None, width):
            raise CheckpointError(
                f"{self.name}: the head is {width} wide, but config.json says compress_dim "
                f"{self.config['compress_dim']}"
            )


def open_checkpoint(source: str | Path) -> Checkpoint:
    """Open a checkpoint's folder, or fetch it by its hub name (owner/name) where no such folder exists.

    Raises CheckpointError for a source that is not a C2LLM checkpoint this package can run, MissingDependencyError
    for a hub name without huggingface_hub.
    """
    folder = as_path(source, "source")
    if folder.is_dir():
        return Checkpoint(folder, folder.resolve().name, None)
    if is_hub_name(str(source)):
        downloaded, revision = download(str(source))
        return Checkpoint(downloaded, str(source), revision)
    raise CheckpointError(f"{source} is neither a folder nor a model name of the form OWNER/NAME")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path.parent} has no {path.name}; copy it from the source of the weights")
    with reading(path), path.open("rb") as file:
        data = file.read(_MAX_JSON + 1)
    if len(data) > _MAX_JSON:
        raise CheckpointError(f"{path} has over {_MAX_JSON:,} bytes, more than in any C2LLM checkpoint; copy it again")
    try:
        content = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); copy it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a JSON object; copy it again")
    return content


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files, in order of name; shards are checked against their index."""
    single, index = folder / _SINGLE, folder / _INDEX
    if not index.is_file():
        if single.is_file():
            return [single]
        if pickles := sorted(path.name for kind in _PICKLES for path in folder.glob(kind)):
            raise CheckpointError(
                f"{folder} stores its weights as pickles ({_some(pickles)}), which can run code when read; "
                "use the same model's safetensors"
            )
        raise CheckpointError(f"{folder} has neither {_SINGLE} nor {_INDEX}; copy the weights into it")
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(
        isinstance(file, str) and Path(file).name == file and file.endswith(".safetensors")
        for file in weight_map.values()
    ):
        raise CheckpointError(f"{index}: weight_map does not map each tensor to a safetensors file of this folder")
    files = sorted(set(weight_map.values()))
    if single.is_file() and _SINGLE not in files:
        raise CheckpointError(f"{folder} has both {_SINGLE} and {_INDEX}; remove the wrong one")
    if missing := [file for file in files if not (folder / file).is_file()]:
        raise CheckpointError(f"{folder} lacks {_some(missing)}, which {_INDEX} lists; copy them too")
    listed = set(weight_map.items())
    present = {(tensor.name, file) for file in files for tensor in read_header(folder / file)}
    if differing := sorted({name for name, _ in listed ^ present}):
        raise CheckpointError(
            f"{_INDEX} and its shards disagree on the file of {_some(differing)}; download them all again, at one "
            "revision"
        )
    return [folder / file for file in files]


def _by_tail_name(files: list[Path]) -> dict[str, StoredTensor]:
    found: dict[str, StoredTensor] = {}
    for tensor in (tensor for file in files for tensor in read_header(file)):
        if tensor.name.endswith(_IGNORED):
            continue
        match = _TAIL.search(tensor.name)
        tail = match[1] if match else tensor.name
        if tail in found:
            raise CheckpointError(f"{tensor.name} and {found[tail].name} are the same tensor twice; keep one of them")
        found[tail] = tensor
    return found


def _backbone_shapes(shape: Backbone) -> dict[str, tuple[int, ...]]:
    hidden, kv = shape.hidden, shape.kv_heads * shape.head_dim
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
        "self_attn.o_proj.weight": (hidden, hidden),
        "mlp.gate_proj.weight": (shape.intermediate, hidden),
        "mlp.up_proj.weight": (shape.intermediate, hidden),
        "mlp.down_proj.weight": (hidden, shape.intermediate),
    }
    for part, rows in (("q", hidden), ("k", kv), ("v", kv)):
        layer |= {f"self_attn.{part}_proj.weight": (rows, hidden), f"self_attn.{part}_proj.bias": (rows,)}
    whole: dict[str, tuple[int, ...]] = {"embed_tokens.weight": (shape.vocab, hidden), "norm.weight": (hidden,)}
    return whole | {f"layers.{i}.{name}": size for i in range(shape.layers) for name, size in layer.items()}


def _some(names: list[str]) -> str:
    """The first few of a list that may be long."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
