"""A file of texts in, a file of vectors out: any size, and a run that is killed can go on where it stopped.

    OUT.partial/    the parts finished so far (parts.py), from the first one on; gone once OUT is whole
    OUT             joined from the parts under a temporary name, then renamed (outputs.py)
    OUT.meta.json   what OUT was made from and how; an earlier one goes before OUT is renamed and this one comes after,
                    so that it never stands beside another's vectors
    OUT.left_out.jsonl  lines without a vector, and why, where skip_bad left any out

A kill between any two of these steps leaves what `resume` can end the work from.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ...arguments import as_path, check_whole
from ...embedder import Embedder
from ...errors import ArgumentError, OutputError, TextError
from ...progress import Advance, bar
from ...text import choose_prompt
from ...vectors import Precision
from ..rows import unfit
from ..settings import Settings
from .outputs import Join, join_for
from .parts import Parts, read_json, resumable, to_json
from .texts import LeftOut, TextFile, open_texts

__all__ = ["Written", "check_output", "embed_file"]

# A part is about so much work, which is what a kill loses, and of so many rows, which fill the engine's passes.
PART_SECONDS = 15.0
FIRST_ROWS, MOST_ROWS = 32, 8192
LEFT_OUT = "left_out.jsonl"


@dataclass(frozen=True)
class Written:
    """What a call of embed_file left in OUT.

    seconds: this call's own, not those of the runs it continues. left_out: lines in OUT.left_out.jsonl.
    """

    rows: int
    seconds: float
    left_out: int = 0


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
    skip_bad: bool = False,
    progress: bool = False,
    part_rows: int | None = None,
) -> Written:
    r"""Embed every line of `source` and write the vectors to `output`, row for line; memory is bounded by a part.

    source: a file, or "-" for standard input; UTF-8, one text a line (ended by \n or \r\n), or JSONL where `field`
    names the text's field; a name in .jsonl means field "text" unless told otherwise. A JSONL line's "id", a string or
    an integer, goes with its row into .jsonl and .parquet; blank lines of JSONL are passed over.
    output: .npy (n, d), .jsonl or .parquet, by its suffix; what `precision` makes of d is told at Embedder.embed.
    prompt_name, prompt, dim, normalize, precision: as Embedder.embed takes them.
    resume: go on from OUT.partial, or begin where there is none; a finished OUT of the same settings and input stays.
    force: replace OUT, and drop an OUT.partial. part_rows: how many texts are embedded and kept at a time; None takes
    as many as about 15 seconds of work.

    skip_bad: leave out lines that cannot be read or embedded, and list them in OUT.left_out.jsonl.

    Raises TextError, naming the line, for one that cannot be read or embedded (finished parts stay: mend the line and
    resume); OutputError for an output that exists, cannot be written or does not fit on the disk, and for a resume with
    another bundle, other settings or another input; MissingDependencyError for .parquet without pyarrow; ValueError for
    an argument out of range; OSError where `source` cannot be read.
    """
    started = time.monotonic()
    source, output = as_path(source, "source"), as_path(output, "output")
    if part_rows is not None:
        check_whole("part_rows", part_rows)
    check_output(output, resume=resume, force=force)
    join = join_for(output)
    if field is None and source.suffix == ".jsonl":
        field = "text"
    prefix = choose_prompt(model.prompts, prompt_name, prompt)

    def embed(texts: list[str], progress: Callable[[float], None] | bool = False) -> NDArray[Any]:
        return model.embed(texts, prompt=prefix, dim=dim, normalize=normalize, precision=precision, progress=progress)

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
    with open_texts(source, field=field, prompted=bool(prefix), skip_bad=skip_bad) as texts:
        if output.is_dir() or (output.exists() and source.exists() and output.samefile(source)):
            raise OutputError(f"{output} is {'a folder' if output.is_dir() else 'the input'}: choose another output")
        parts = Parts(_beside(output, "partial"))
        if not parts.begun:
            parts.remove()  # what a kill left of a run that had finished, or not begun
            if resume and output.exists():
                return Written(_finished_rows(output, settings, texts), time.monotonic() - started)
        if parts.begun and resume:
            _go_on(parts, settings, texts)
        elif parts.begun and not force:
            texts.read(FIRST_ROWS)  # another mistake is reported first
            raise OutputError(
                f"{parts.folder} holds an unfinished run: continue it with --resume, or drop it with --force"
            )
        else:
            parts.remove()
        with bar("embedding", texts.bytes_left(), "bytes", show=progress) as advance:
            bad = functools.partial(unfit, model, prompt=prefix)
            left_out = _embed_parts(
                embed, texts, parts, settings, bad=bad, skip_bad=skip_bad, part_rows=part_rows, advance=advance
            )
        rows = parts.rows
        skipped = _finish(output, parts, settings, texts, join=join, none=none, last=left_out)
    return Written(rows, time.monotonic() - started, skipped)


def check_output(output: Path, *, resume: bool, force: bool) -> None:
    """Raise what embed_file raises of its output alone, before a model is loaded for nothing."""
    if resume and force:
        raise ArgumentError("resume goes on from the finished parts and force drops them: give one of the two")
    join_for(output)
    Parts(_beside(output, "partial"))
    if output.exists() and not (resume or force):
        raise OutputError(f"{output} exists: choose another name, or replace it with --force")


def _go_on(parts: Parts, settings: Settings, texts: TextFile) -> None:
    """Take up the parts of an earlier run, and pass over the input they were made from."""
    _refuse_another(parts.folder, settings.differing(parts.settings()))
    parts.load()
    if parts.records:
        last = parts.records[-1]
        if not texts.skip(last.consumed, last.input_sha256):
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
    embed: Callable[[list[str], Callable[[float], None]], NDArray[Any]],
    texts: TextFile,
    parts: Parts,
    settings: Settings,
    *,
    bad: Callable[[Sequence[object], range], dict[int, str]],
    skip_bad: bool,
    part_rows: int | None,
    advance: Advance,
) -> list[LeftOut]:
    """Embed what is left of `texts`, part by part; returns the lines left out after the last part."""
    size = part_rows or FIRST_ROWS
    consumed = shown = texts.consumed

    def show(share: float) -> None:
        nonlocal shown
        reached = consumed + round(share * (texts.consumed - consumed))
        advance(reached - shown)
        shown = reached

    while rows := texts.read(size):
        begun = time.monotonic()
        try:
            vectors = embed([row.text for row in rows], show)
        except TextError:
            reasons = bad([row.text for row in rows], range(len(rows)))
            if not reasons:
                raise
            if not skip_bad:
                first = min(reasons)
                raise TextError(f"{texts.name}, line {rows[first].line}: the text {reasons[first]}") from None
            texts.left_out += [LeftOut(rows[i].line, rows[i].id, reason) for i, reason in reasons.items()]
            texts.left_out.sort()
            rows = [row for i, row in enumerate(rows) if i not in reasons]
            vectors = embed([row.text for row in rows], show)
        if not parts.begun:
            parts.begin(asdict(settings))
        ids = [row.id for row in rows]
        parts.append(vectors, ids, consumed=texts.consumed, input_sha256=texts.sha256, left_out=texts.left_out)
        texts.left_out.clear()
        show(1.0)
        consumed = texts.consumed
        if part_rows is None:
            size = _next_size(max(1, len(rows)), time.monotonic() - begun)
    return texts.left_out


def _next_size(rows: int, seconds: float) -> int:
    """How many rows the next part takes: PART_SECONDS' worth, at most twice as many as the last."""
    fitting = rows * PART_SECONDS / max(seconds, 1e-3)
    return max(1, min(round(fitting), 2 * rows, MOST_ROWS))


def _finish(
    output: Path,
    parts: Parts,
    settings: Settings,
    texts: TextFile,
    *,
    join: Join,
    none: NDArray[Any],
    last: Sequence[LeftOut],
) -> int:
    """Write OUT and what stands beside it; returns how many lines were left out."""
    left_out = [*parts.left_out(), *last]
    missing = ["blank lines"] if texts.lines > parts.rows + len(left_out) else []
    missing += [f"those in {_beside(output, LEFT_OUT).name}"] if left_out else []
    blank = f", {' and '.join(missing)} not counted" if missing else ""
    meta = asdict(settings) | {
        "rows": parts.rows,
        "order": f"row i is the input's line i + 1{blank}",
        "input": texts.name,
        "input_bytes": texts.consumed,
        "input_sha256": texts.sha256,
    }
    meta_path = _beside(output, "meta.json")
    if not parts.begun:  # an empty input has no part
        parts.begin(asdict(settings))
    with resumable(output, through=parts.folder) as file:
        join(file, parts, none)
        meta_path.unlink(missing_ok=True)
    _write_left_out(_beside(output, LEFT_OUT), left_out, texts.name, parts.folder)
    with resumable(meta_path, through=parts.folder) as file:
        file.write(to_json(meta))
    parts.remove()
    return len(left_out)


def _write_left_out(path: Path, left_out: Sequence[LeftOut], name: str, through: Path) -> None:
    if not left_out:
        path.unlink(missing_ok=True)
        return
    with resumable(path, through=through) as file:
        for one in left_out:
            row = {"input": name} | one._asdict()
            file.write((json.dumps(row, ensure_ascii=False) + "\n").encode(errors="backslashreplace"))


def _refuse_another(found: Path, names: list[str]) -> None:
    if names:
        raise OutputError(
            f"{found} was made with another {', '.join(names)}: give the same as then, or begin anew with --force"
        )


def _beside(output: Path, suffix: str) -> Path:
    return output.with_name(f"{output.name}.{suffix}")
