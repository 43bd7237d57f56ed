"""A file of texts in, a file of vectors out: any size, and a run that is killed can go on where it stopped.

    OUT.partial/    the parts finished so far (parts.py); gone once OUT is whole
    OUT             joined from the parts under a temporary name, then renamed (outputs.py)
    OUT.meta.json   what OUT was made from and how; an earlier one goes before OUT is renamed and this one comes after,
                    so that it never stands beside another's vectors

A kill between any two of these steps leaves what `resume` can end the work from.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ...embedder import Embedder
from ...errors import OutputError, TextError
from ...progress import Advance, bar
from ...text import choose_prompt
from ...vectors import Precision
from ..settings import Settings
from .outputs import Join, join_for
from .parts import Parts, read_json, resumable, to_json
from .texts import TextFile, open_texts

__all__ = ["Written", "check_output", "embed_file"]

PART_ROWS = 512  # about a minute's work on a slow CPU, the most that a kill loses; enough to pack texts by length


@dataclass(frozen=True)
class Written:
    """What a call of embed_file left in OUT. `seconds` are this call's own, not those of runs it went on from."""

    rows: int
    seconds: float


def embed_file(
    model: Embedder,
    source: str | Path,
    output: str | Path,
    *,
    field: str | None = None,
    prompt_name: str | None = None,
    prompt: str | None = None,
    dim: int | None = None,
    normalize: bool = True,
    precision: Precision = "float32",
    resume: bool = False,
    force: bool = False,
    progress: bool = False,
    part_rows: int = PART_ROWS,
) -> Written:
    r"""Embed every line of `source` and write the vectors to `output`, row for line; memory is bounded by a part.

    source: a file, or "-" for standard input; UTF-8, one text a line (ended by \n or \r\n), or JSONL where `field`
    names the text's field; a name in .jsonl means field "text" unless told otherwise. A JSONL line's "id", a string or
    an integer, goes with its row into .jsonl and .parquet.
    output: .npy (n, d), .jsonl or .parquet, by its suffix; what `precision` makes of d is told at Embedder.embed.
    prompt_name, prompt, dim, normalize, precision: as Embedder.embed takes them.
    resume: go on from OUT.partial, or begin where there is none; a finished OUT of the same settings and input stays.
    force: replace OUT, and drop an OUT.partial. part_rows: how many texts are embedded and kept at a time.

    Raises TextError, naming the line, for one that cannot be read or embedded (finished parts stay: mend the line and
    resume); OutputError for an output that exists, cannot be written or does not fit on the disk, and for a resume with
    another bundle, other settings or another input; MissingDependencyError for .parquet without pyarrow; ValueError for
    an argument out of range; OSError where `source` cannot be read.
    """
    started = time.monotonic()
    source, output = Path(source), Path(output)
    if part_rows < 1:
        raise ValueError(f"part_rows is {part_rows}; give 1 or more")
    check_output(output, resume=resume, force=force)
    join = join_for(output)
    if field is None and source.suffix == ".jsonl":
        field = "text"
    prefix = choose_prompt(model.prompts, prompt_name, prompt)

    def embed(texts: list[str]) -> NDArray[Any]:
        return model.embed(texts, prompt=prefix, dim=dim, normalize=normalize, precision=precision)

    none = embed([])  # (0, d); checks the arguments before a file is touched
    settings = Settings.of(
        model.bundle,
        prompt=prefix,
        dim=dim or model.dim,
        precision=precision,
        normalize=normalize,
        max_tokens=model.max_tokens,
        field=field,
    )
    with open_texts(source, field=field, prompted=bool(prefix)) as texts:
        if output.is_dir() or (output.exists() and source.exists() and output.samefile(source)):
            raise OutputError(f"{output} is {'a folder' if output.is_dir() else 'the input'}: choose another output")
        parts = Parts(_beside(output, "partial"))
        if not parts.begun:
            parts.remove()  # what a kill left of a run that had finished, or not begun
            if resume and output.exists():
                return Written(_finished_rows(output, settings, texts), time.monotonic() - started)
        if parts.begun and resume:
            _go_on(parts, settings, texts)
        else:
            parts.remove()
            parts.begin(asdict(settings))
        with bar("embedding", texts.bytes_left(), "bytes", show=progress) as advance:
            _embed_parts(embed, texts, parts, part_rows, advance)
        _finish(output, parts, settings, texts, join, none)
    return Written(texts.lines, time.monotonic() - started)


def check_output(output: Path, *, resume: bool, force: bool) -> None:
    """Raise what embed_file raises of its output alone, before a model is loaded for nothing."""
    if resume and force:
        raise ValueError("resume goes on from the finished parts and force drops them: give one of the two")
    join_for(output)
    parts = Parts(_beside(output, "partial"))
    if resume or force:
        return
    if parts.begun:
        raise OutputError(f"{parts.folder} holds an unfinished run: go on with --resume, or begin anew with --force")
    if output.exists():
        raise OutputError(f"{output} exists: choose another name, or replace it with --force")


def _go_on(parts: Parts, settings: Settings, texts: TextFile) -> None:
    """Take up the parts of an earlier run, and pass over the input they were made from."""
    _refuse_another(parts.folder, settings.differing(parts.settings()))
    parts.load()
    if parts.records:
        last = parts.records[-1]
        if not texts.skip(last.consumed, parts.rows, last.input_sha256):
            _refuse_another(parts.folder, ["input"])


def _finished_rows(output: Path, settings: Settings, texts: TextFile) -> int:
    """Rows of an output that stands finished already. Raises OutputError where it is not what is asked for now."""
    meta = read_json(_beside(output, "meta.json"))
    if meta is None:
        raise OutputError(f"{output} exists, without its meta.json: choose another name, or replace it with --force")
    _refuse_another(output, settings.differing(meta))
    texts.skip_rest()
    if texts.sha256 != meta["input_sha256"]:
        _refuse_another(output, ["input"])
    rows: int = meta["rows"]
    return rows


def _embed_parts(
    embed: Callable[[list[str]], NDArray[Any]], texts: TextFile, parts: Parts, part_rows: int, advance: Advance
) -> None:
    consumed = texts.consumed
    while rows := texts.read(part_rows):
        try:
            vectors = embed([row.text for row in rows])
        except TextError as error:
            raise TextError(f"{texts.name}, counting from line {parts.rows + 1} as text 0: {error}") from None
        parts.append(vectors, [row.id for row in rows], texts.consumed, texts.sha256)
        advance(texts.consumed - consumed)
        consumed = texts.consumed


def _finish(output: Path, parts: Parts, settings: Settings, texts: TextFile, join: Join, none: NDArray[Any]) -> None:
    meta = asdict(settings) | {
        "rows": parts.rows,
        "order": "row i is the input's line i + 1",
        "input": texts.name,
        "input_bytes": texts.consumed,
        "input_sha256": texts.sha256,
    }
    meta_path = _beside(output, "meta.json")
    with resumable(output, through=parts.folder) as file:
        join(file, parts, none)
        meta_path.unlink(missing_ok=True)
    with resumable(meta_path, through=parts.folder) as file:
        file.write(to_json(meta))
    parts.remove()


def _refuse_another(found: Path, names: list[str]) -> None:
    if names:
        raise OutputError(
            f"{found} was made with another {', '.join(names)}: give the same as then, or begin anew with --force"
        )


def _beside(output: Path, suffix: str) -> Path:
    return output.with_name(f"{output.name}.{suffix}")
