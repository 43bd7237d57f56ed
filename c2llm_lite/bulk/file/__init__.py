"""Embeds a file of texts of any size into a file of vectors. Finished parts survive a crash.

    OUT.partial/    the parts finished so far (parts.py); removed once OUT is complete
    OUT             joined from the parts under a temporary name, then renamed (outputs.py)
    OUT.meta.json   the bundle, settings and input of OUT; an earlier one is removed before OUT is renamed and this one
                    is written after, so that it never describes other vectors
    OUT.left_out.jsonl  the lines that skip_bad skipped, with the reason

After a crash between any two of these steps, `resume` can finish the work.
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

# The work in one part, which is what a crash loses, and its rows, enough to fill the engine's passes.
PART_SECONDS = 15.0
FIRST_ROWS, MOST_ROWS = 32, 8192
LEFT_OUT = "left_out.jsonl"


@dataclass(frozen=True)
class Written:
    """The result of embed_file().

    Attributes:
        rows: Vectors in OUT.
        seconds: Duration of this call, without the runs it continues.
        left_out: Lines in OUT.left_out.jsonl.
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
    r"""Embed every line of a file and write the vectors to another, in the same order. Memory is bounded by a part.

    Args:
        model: The loaded bundle.
        source: A UTF-8 file with one text per line (ended by \n or \r\n) or JSON lines; "-" is standard input.
        output: The .npy (n, d), .jsonl or .parquet file to write.
        field: The field of the JSON lines that contains the text. For a source ending in .jsonl, None means "text".
            A line's "id", a string or an integer, is written with its row to .jsonl and .parquet. Blank lines of JSON
            lines are skipped.
        prompt_name: As in Embedder.embed().
        prompt: As in Embedder.embed().
        dim: As in Embedder.embed().
        normalize: As in Embedder.embed().
        precision: As in Embedder.embed().
        resume: Continue from OUT.partial, or start if there is none. A complete OUT with the same settings and input is
            kept.
        force: Replace OUT and discard OUT.partial.
        skip_bad: Skip lines that cannot be read or embedded, and list them in OUT.left_out.jsonl.
        progress: Print the rate and the time left.
        part_rows: The number of texts in a part; None means about 15 seconds of work.

    Returns:
        The number of rows written and lines skipped, and the duration.

    Raises:
        TextError: A line cannot be read or embedded; names the line. Finished parts are kept: correct it and resume.
        OutputError: The output exists, cannot be written or does not fit on the disk; or `resume` was called with
            another bundle, other settings or another input.
        MissingDependencyError: The output is .parquet and pyarrow is not installed.
        ArgumentError: An argument is out of range.
        OSError: `source` cannot be read.
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
            raise OutputError(f"{output} is {'a folder' if output.is_dir() else 'the input'}; choose another output")
        parts = Parts(_beside(output, "partial"))
        if not parts.begun:
            parts.remove()  # left by a crash of a run that had finished, or not started
            if resume and output.exists():
                return Written(_finished_rows(output, settings, texts), time.monotonic() - started)
        if parts.begun and resume:
            _continue(parts, settings, texts)
        elif parts.begun and not force:
            texts.read(FIRST_ROWS)  # report errors in the input first
            raise OutputError(
                f"{parts.folder} contains an unfinished run; continue it with --resume, or discard it with --force"
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
    """Raise the errors of embed_file() that concern only its output, before a model is loaded in vain."""
    if resume and force:
        raise ArgumentError("resume continues from the finished parts and force discards them; pass only one of them")
    join_for(output)
    Parts(_beside(output, "partial"))
    if output.exists() and not (resume or force):
        raise OutputError(f"{output} exists; choose another name, or replace it with --force")


def _continue(parts: Parts, settings: Settings, texts: TextFile) -> None:
    """Continue from the parts of an earlier run, and skip the input that they were computed from."""
    _refuse_another(parts.folder, settings.differing(parts.settings()))
    parts.load()
    if parts.records:
        last = parts.records[-1]
        if not texts.skip(last.consumed, last.input_sha256):
            _refuse_another(parts.folder, ["input"])


def _finished_rows(output: Path, settings: Settings, texts: TextFile) -> int:
    """Rows of a complete output. Raises OutputError if its settings or input differ from the current ones."""
    meta = read_json(_beside(output, "meta.json"))
    if meta is None:
        raise OutputError(f"{output} exists without its meta.json; choose another name, or replace it with --force")
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
    """Embed the rest of `texts`, part by part. Returns the lines skipped after the last part."""
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
    """The next part's number of rows: about PART_SECONDS of work, at most twice the last part's."""
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
    """Write OUT and its companion files. Returns the number of skipped lines."""
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
    if not parts.begun:  # an empty input has no parts
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
            f"{found} was made with another {', '.join(names)}; use the same again, or start over with --force"
        )


def _beside(output: Path, suffix: str) -> Path:
    return output.with_name(f"{output.name}.{suffix}")
