"""Downloads the files of a hub model that a conversion reads; never Python code or pickles."""

from __future__ import annotations

import re
from pathlib import Path

from c2llm_lite.bundle import LICENSES
from c2llm_lite.errors import CheckpointError, MissingDependencyError

# tokenizer.json is all of the tokenizer that is read; vocab.json and merges.txt keep the copy whole for other tools.
FILES = ("*.json", "*.safetensors", "merges.txt", *LICENSES)
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def is_hub_name(source: str) -> bool:
    """Whether `source` has the form owner/name."""
    return _NAME.fullmatch(source) is not None and not source.startswith(".")


def download(name: str) -> tuple[Path, str]:
    """(folder, commit) of the model `name` on the Hugging Face Hub, from the local cache where it is already there.

    Raises MissingDependencyError without huggingface_hub, CheckpointError if the hub or the model cannot be reached.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingDependencyError("huggingface_hub", "convert", f"fetching {name} from the hub") from error
    try:
        folder = Path(snapshot_download(name, allow_patterns=list(FILES)))
    # Its errors (offline, not found, gated, refused) are OSErrors; a name it cannot parse is a ValueError.
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"there is no folder {name}, and the model hub did not return a model of that name "
            f"({type(error).__name__}). On a machine with a network, copy config.json, tokenizer.json, LICENSE, NOTICE "
            f"(if there is one) and every *.safetensors with its model.safetensors.index.json from "
            f"https://huggingface.co/{name}/tree/main into one folder, and pass that folder instead of the name"
        ) from error
    return folder, folder.name  # the cache keeps a snapshot under its commit
