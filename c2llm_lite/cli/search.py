"""The commands `search`, `index` and `duplicates`. Their imports run with the command, so that `--help` stays fast."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import when_stopped
from .options import (
    AsJson,
    BundleArgument,
    Device,
    PublicKeys,
    Revoked,
    Signature,
    Threads,
    err,
    out,
    print_json_lines,
    settings,
    signature,
)

if TYPE_CHECKING:
    from ..search.index import Index


class ModeName(str, Enum):
    """The ways to rank, as the command line lists them. Typer 0.16 reads no Literal."""

    hybrid = "hybrid"
    semantic = "semantic"
    lexical = "lexical"


NOTHING_FOUND = 3  # exit code
FIRST_ANSWER_SECONDS = 5.0  # that a search embeds for before it answers
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to search; .gitignore is honored.")]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        help="Leave out what this .gitignore pattern matches; repeatable. A .c2llmignore file does so always."
    ),
]
Include = Annotated[list[str] | None, typer.Option(help="Index only what this .gitignore pattern matches; repeatable.")]
Verify = Annotated[
    bool, typer.Option("--verify", help="Read every file again, also if its size, time and inode are the same.")
]
Place = Annotated[
    Path | None,
    typer.Option(
        "--index", metavar="DIR", help="Where to keep the index. [dim]\\[default: the user's cache folder][/]"
    ),
]


def search(
    bundle: BundleArgument,
    folder: Folder,
    query: Annotated[str | None, typer.Argument(metavar="[QUERY]", help="What to search for, in words.")] = None,
    count: Annotated[int, typer.Option("-k", min=1, help="How many results.")] = 10,
    wait: Annotated[bool, typer.Option("--wait", help="First embed everything that is new.")] = False,
    like: Annotated[
        str | None, typer.Option(metavar="FILE:LINE", help="Instead of QUERY: code similar to the code at this line.")
    ] = None,
    lang: Annotated[list[str] | None, typer.Option(help="Only this language, such as python; repeatable.")] = None,
    path: Annotated[
        list[str] | None, typer.Option(help="Only paths that match this .gitignore pattern; repeatable.")
    ] = None,
    mode: Annotated[
        ModeName, typer.Option(help="How to rank: by meaning (semantic), by words and names, or both.")
    ] = ModeName.hybrid,
    exclude: Exclude = None,
    include: Include = None,
    verify: Verify = False,
    place: Place = None,
    device: Device = "auto",
    threads: Threads = None,
    public_key: PublicKeys = None,
    revoked: Revoked = None,
    as_json: AsJson = False,
) -> None:
    """Search the code of a folder in words or by name.

    Words and names are indexed first. Then new code is embedded for up to 5 seconds; --wait, or the command index,
    embeds the rest. Later searches index only changes. The exit code is 3 if nothing is found.

    Example: c2llm-lite search c2llm-q8 . "open a jsonl file and read all lines" -k 5
    """
    if (query is None) == (like is None):
        raise typer.BadParameter("nothing to search for; pass a QUERY in words, or --like FILE:LINE")
    file, _, line = (like or "").rpartition(":")
    if like is not None and not (file and line.isdecimal()):
        raise typer.BadParameter(f"--like {like!r} is not FILE:LINE, such as src/stack.py:12")
    by_words = mode is ModeName.lexical and query is not None
    signed = signature(public_key, revoked)
    with _opened(bundle, folder, place, device, threads, signed, engine=not by_words) as found:
        seconds = 0 if by_words else None if wait else FIRST_ANSWER_SECONDS
        _bring_up(found, exclude=exclude or (), include=include or (), verify=verify, seconds=seconds)
        only: dict[str, Any] = {"languages": lang or (), "paths": path or ()}
        hits = (
            found.search(query, count, mode=mode.value, **only)
            if query is not None
            else found.like(file, int(line), count, **only)
        )
        if not by_words:
            _print_coverage(found)
    from ..search import show

    hits = [show.from_here(hit, folder) for hit in hits]
    if as_json:
        print_json_lines(asdict(hit) for hit in hits)
    else:
        show.hits(hits, out)
    if not hits:
        err.print("nothing found: nothing matches, or the index is empty")
        raise typer.Exit(NOTHING_FOUND)


def index(
    bundle: BundleArgument,
    folder: Folder,
    exclude: Exclude = None,
    include: Include = None,
    verify: Verify = False,
    place: Place = None,
    device: Device = "auto",
    threads: Threads = None,
    public_key: PublicKeys = None,
    revoked: Revoked = None,
    as_json: AsJson = False,
) -> None:
    """Index a folder, or update its index: only changes are embedded. You can interrupt it and continue later.

    Example: c2llm-lite index c2llm-q8 ~/src/linux --index linux.index
    """
    from ..search import show

    with _opened(bundle, folder, place, device, threads, signature(public_key, revoked)) as found:
        with when_stopped(lambda: _kept(found)):
            done = found.update(progress=settings.progress, exclude=exclude or (), include=include or (), verify=verify)
        where = found.place
    if as_json:
        print_json_lines([asdict(done) | {"index": str(where)}])
        return
    show.update(done, err)
    err.print(f"index: {where}")


def duplicates(
    bundle: BundleArgument,
    folder: Folder,
    threshold: Annotated[float, typer.Option(min=0.0, max=1.0, help="The lowest cosine of a pair.")] = 0.95,
    exclude: Exclude = None,
    include: Include = None,
    verify: Verify = False,
    place: Place = None,
    device: Device = "auto",
    threads: Threads = None,
    public_key: PublicKeys = None,
    revoked: Revoked = None,
    as_json: AsJson = False,
) -> None:
    """List pairs of near-identical functions, classes and passages in a folder, most similar first.

    Example: c2llm-lite duplicates c2llm-q8 src --threshold 0.97
    """
    from ..search import show

    with _opened(bundle, folder, place, device, threads, signature(public_key, revoked)) as found:
        _bring_up(found, exclude=exclude or (), include=include or (), verify=verify)
        pairs = found.duplicates(threshold, progress=settings.progress)
    pairs = [
        replace(pair, first=show.from_here(pair.first, folder), second=show.from_here(pair.second, folder))
        for pair in pairs
    ]
    if as_json:
        print_json_lines(asdict(pair) for pair in pairs)
        return
    show.duplicates(pairs, out)
    err.print(f"pairs with a cosine of at least {threshold}: {len(pairs):,}")


@contextlib.contextmanager
def _opened(
    bundle: Path,
    folder: Path,
    place: Path | None,
    device: str,
    threads: int | None,
    signed: Signature,
    *,
    engine: bool = True,
) -> Iterator[Index]:
    """engine: whether to load it, beside what is done before it is needed."""
    from ..search.index import Index
    from ..search.on_demand import OnDemand

    with (
        OnDemand(bundle, device=device, threads=threads, **signed) as model,
        Index(model, folder, index=place) as opened,
    ):
        if engine:
            model.start()
        yield opened


def _bring_up(found: Index, **request: Any) -> None:
    """Update before a search; if another process is updating the index, search its current content."""
    from ..search import show
    from ..search.database import BusyError

    try:
        with when_stopped(lambda: _kept(found)):
            done = found.update(progress=settings.progress, **request)
    except BusyError as error:
        err.print(f"{error}; searching its current content")
        return
    if done.changed or done.removed or done.unreadable:
        show.update(done, err)


def _print_coverage(found: Index) -> None:
    embedded, pieces = found.coverage()
    if embedded < pieces:
        share = math.floor(100 * embedded / pieces)
        err.print(f"vectors: {share}% of {pieces:,} pieces; --wait, or the command index, embeds the rest")


def _kept(found: Index) -> str:
    embedded, pieces = found.coverage()
    return f"{embedded:,} of {pieces:,} pieces are embedded in {found.place}; repeat the command to continue"
