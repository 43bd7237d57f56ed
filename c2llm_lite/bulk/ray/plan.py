"""Plans a run before it uses the cluster: checks and splits the inputs, and finds the parts that exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...arguments import as_path, check_whole
from ...bundle import Bundle
from ...errors import OutputError
from ...signature import PublicKey, open_bundle
from ...vectors import Precision
from ..rows import checked_prompt
from ..settings import Settings
from . import inputs, parts
from .inputs import Span

# Eight minutes of one core at the stand-in's measured rate (results/standin, openvino:int8): the most that a crash
# loses and that others wait for the last actor. 100 million rows make 49,000 files of 7 MB.
PART_ROWS = 2048


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    check: each node hashes every file of the bundle, whose signature was checked here. settings: what determines a
    part's content. there: the number of existing parts. missing: the other spans.
    """

    bundle: Bundle
    check: bool
    output: Path
    settings: dict[str, Any]
    there: int
    missing: list[Span]


def plan(
    bundle: str | Path,
    sources: Sequence[str | Path],
    output: str | Path,
    *,
    column: str = "text",
    id_column: str | None = None,
    prompt_name: str | None = None,
    prompt: str | None = None,
    dim: int | None = None,
    precision: Precision = "float32",
    part_rows: int = PART_ROWS,
    public_key: PublicKey | None = None,
    revoked: str | Path | None = None,
) -> Plan:
    """Plan to embed `sources` into parts in the folder `output`. Nothing is written yet.

    sources: files or folders of Parquet, JSON lines or Arrow (files or streams). column: the column of texts.
    id_column: strings or integers to keep with the vectors; by default an id is "input:row", with the input's full
    path. prompt_name to precision: as in Embedder.embed(). part_rows: rows per part, which is one Ray task.
    public_key, revoked: as in load().

    Raises BundleError if the bundle cannot be read here; InputError if an input is missing, cannot be read or lacks a
    column; OutputError if a part in `output` was made with another bundle, other settings or another input;
    ArgumentError if an argument is out of range.
    """
    opened = open_bundle(as_path(bundle, "bundle").absolute(), public_key=public_key, revoked=revoked)
    prefix = checked_prompt(opened, prompt_name, prompt, dim, precision)
    check_whole("part_rows", part_rows)
    output = as_path(output, "output").resolve()
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output} is a file: choose a folder for the parts")
    paths = [as_path(source, "an input") for source in sources]
    for folder in paths:
        if folder.is_dir() and output.is_relative_to(folder.resolve()):
            raise OutputError(
                f"{output} is inside the input folder {folder}, so the next run would read its parts; choose another "
                "output"
            )
    columns = [column, *([id_column] if id_column else [])]
    spans = [span for path in inputs.files(paths) for span in inputs.spans(path.absolute(), columns, part_rows)]
    made = Settings.of(
        opened,
        prompt=prefix,
        dim=dim or opened.manifest.width,
        precision=precision,
        normalize=True,
        max_tokens=opened.manifest.max_tokens,
        field=column,
    )
    types = inputs.id_type(spans, id_column) if id_column else "string"
    settings = asdict(made) | {"id": id_column, "id_type": types, "part_rows": part_rows}
    there = parts.made_already(output, spans, settings)
    return Plan(
        opened, public_key is not None, output, settings, len(there), [span for span in spans if span not in there]
    )
