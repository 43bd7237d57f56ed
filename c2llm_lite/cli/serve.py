"""The command `serve`. Its imports run with the command, so that `--help` stays fast."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
from pathlib import Path
from typing import Annotated

import typer

from ..errors import MissingDependencyError
from .options import BundleArgument, Device, MaxTokens, PublicKeys, Revoked, Threads, err, signature

QUEUE_TOKENS = 262_144  # two to three minutes of a 0.5B model's work on a few cores, and under 10 MB of ids


def serve(
    bundle: BundleArgument,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 means every address of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 chooses a free one and prints it.")] = 8000,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Also accept requests addressed to NAME, such as a proxy's name; repeatable. A server on loopback "
            "accepts localhost and its addresses; elsewhere, all names are accepted unless this is given.",
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Require an API key, one of FILE's lines, except at /healthz and /readyz."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name in the API. [dim]\\[default: the bundle's folder][/]")
    ] = None,
    max_batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens in one batch, at most. [dim]\\[default: the engine's choice][/]")
    ] = None,
    queue: Annotated[
        int, typer.Option(min=1, metavar="TOKENS", help="Tokens that may wait; beyond it, clients get 429.")
    ] = QUEUE_TOKENS,
    accept_token_ids: Annotated[
        bool, typer.Option("--accept-token-ids", help="Accept token ids as input. They must be this model's own.")
    ] = False,
    cut_long_texts: Annotated[
        bool,
        typer.Option(
            "--cut-long-texts", help="Truncate a text that is too long, as embed() does; otherwise it is refused."
        ),
    ] = False,
    device: Device = "auto",
    threads: Threads = None,
    max_tokens: MaxTokens = None,
    public_key: PublicKeys = None,
    revoked: Revoked = None,
) -> None:
    """Serve a bundle through OpenAI's embeddings API: POST /v1/embeddings, GET /v1/models, /healthz, /readyz, /metrics.

    SIGTERM or Ctrl-C finishes accepted requests; a second Ctrl-C answers them with 503.

    Example: c2llm-lite serve c2llm-q8 --port 8000 --api-key-file keys.txt
    """
    try:
        from ..serve.app import Service
        from ..serve.hosts import LOOPBACK
        from ..serve.keys import Keys
        from ..serve.request import Offer
        from ..serve.server import Server
    except ImportError as error:
        raise MissingDependencyError(error.name or "a library", "serve", "the server") from error
    from ..embedder import load

    signed = signature(public_key, revoked)
    keys = Keys([]) if api_key_file is None else Keys.read(api_key_file)
    if not keys and not _is_loopback(host):
        err.print(f"warning: anyone who can reach {host} can use this server; --api-key-file FILE requires a key")
    hosts = [*LOOPBACK, host, *(allow_host or ())] if allow_host or _is_loopback(host) else None
    listener = _listen(host, port)
    with load(bundle, device=device, threads=threads, max_tokens=max_tokens, **signed) as model:
        offer = Offer(
            name=name or Path(os.path.abspath(bundle)).name,  # noqa: PTH100 - resolve() would name a link's target
            dim=model.dim,
            prompts=model.prompts,
            vocab=model.bundle.manifest.backbone.vocab,
            max_tokens=model.max_tokens,
            token_ids=accept_token_ids,
        )
        service = Service(
            model,
            offer,
            keys=keys,
            queue_tokens=queue,
            max_batch_tokens=max_batch_tokens,
            cut_long_texts=cut_long_texts,
            hosts=hosts,
        )
        address, taken = listener.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        err.print(f"{offer.name} at http://{shown}:{taken}/v1", highlight=False, markup=False, soft_wrap=True)
        # uvicorn raises its stop signal again after it has finished; that must not end the process early.
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.signal(signal.SIGINT, lambda *_: None)
        Server(service).run(sockets=[listener])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    """Listen before the slow loading of the model, so that a port in use is reported at once."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(
            f"cannot listen on {host}, port {port}: {error.strerror}; choose another --host or --port"
        ) from error
