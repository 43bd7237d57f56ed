"""The commands `search`, `index` and `duplicates`. What they need is imported when they run: `--help` stays quick."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import when_stopped
from .options import AsJson, BundleArgument, Device, Threads, err, out, print_json, settings

if TYPE_CHECKING:
    from ..search.index import Index

NOTHING_FOUND = 3  # exit code
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to look through; .gitignore is honoured.")]
Place = Annotated[
    Path | None,
    typer.Option("--index", metavar="DIR", help="Where the index is kept; default: in the user's cache folder."),
]


def search(
    bundle: BundleArgument,
    folder: Folder,
    query: Annotated[str | None, typer.Argument(metavar="[QUERY]", help="What to look for, in words.")] = None,
    count: Annotated[int, typer.Option("-k", min=1, help="How many results.")] = 10,
    like: Annotated[
        str | None, typer.Option(metavar="FILE:LINE", help="In place of QUERY: code like what stands there.")
    ] = None,
    lang: Annotated[list[str] | None, typer.Option(help="Only this language, such as python; may be repeated.")] = None,
    path: Annotated[
        list[str] | None, typer.Option(help="Only these paths, as .gitignore writes them; may be repeated.")
    ] = None,
    place: Place = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Find code in a folder, in words. The folder is indexed first; the next time, only what changed.

    Exits 3 if nothing is found.

    Example: c2llm-lite search c2llm-q8 . "open a jsonl file and read all lines" -k 5
    """
    if (query is None) == (like is None):
        raise typer.BadParameter("say what to look for: a QUERY in words, or --like FILE:LINE")
    file, _, line = (like or "").rpartition(":")
    if like is not None and not (file and line.isdigit()):
        raise typer.BadParameter(f"--like is {like!r}; give a file and a line, such as src/stack.py:12")
    with _opened(bundle, folder, place, device, threads) as found:
        _bring_up(found)
        only: dict[str, Any] = {"languages": lang or (), "paths": path or ()}
        hits = found.search(query, count, **only) if query is not None else found.like(file, int(line), count, **only)
    if as_json:
        print_json([asdict(hit) for hit in hits])
    else:
        from ..search import show

        show.hits(hits, out)
    if not hits:
        err.print("nothing found: no piece fits --lang and --path, or nothing is indexed yet")
        raise typer.Exit(NOTHING_FOUND)


def index(
    bundle: BundleArgument,
    folder: Folder,
    place: Place = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Index a folder, or bring its index up to date: only what changed is embedded. Stop it when you like.

    Example: c2llm-lite index c2llm-q8 ~/src/linux --index linux.index
    """
    from ..search import show

    with _opened(bundle, folder, place, device, threads) as found:
        with when_stopped(lambda: _kept(found)):
            done = found.update(progress=settings.progress)
        where = found.place
    if as_json:
        print_json(asdict(done) | {"index": str(where)})
        return
    show.update(done, err)
    err.print(f"index: {where}")


def duplicates(
    bundle: BundleArgument,
    folder: Folder,
    threshold: Annotated[float, typer.Option(min=0.0, max=1.0, help="The least cosine that counts.")] = 0.95,
    place: Place = None,
    device: Device = "auto",
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """List pairs of near-identical functions, classes and passages of a folder, the nearest first.

    Example: c2llm-lite duplicates c2llm-q8 src --threshold 0.97
    """
    from ..search import show

    with _opened(bundle, folder, place, device, threads) as found:
        _bring_up(found)
        pairs = found.duplicates(threshold, progress=settings.progress)
    if as_json:
        print_json([asdict(pair) for pair in pairs])
        return
    show.duplicates(pairs, out)
    err.print(f"{len(pairs):,} pairs with a cosine of {threshold} or more")


@contextlib.contextmanager
def _opened(bundle: Path, folder: Path, place: Path | None, device: str, threads: int | None) -> Iterator[Index]:
    from ..embedder import load
    from ..search.index import Index

    with load(bundle, device=device, threads=threads) as model, Index(model, folder, index=place) as opened:
        yield opened


def _bring_up(found: Index) -> None:
    """Update before a search; where another process is at it, search what there is."""
    from ..search import show
    from ..search.store import BusyError

    try:
        with when_stopped(lambda: _kept(found)):
            done = found.update(progress=settings.progress)
    except BusyError as error:
        err.print(f"{error}; searching what it holds so far")
        return
    if done.changed or done.removed or done.unreadable:
        show.update(done, err)


def _kept(found: Index) -> str:
    return f"{found.file_count():,} files are indexed in {found.place}; the same command continues"
