"""`c2llm-lite sign`: sign a bundle, or a kit for machines without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Force, out


def sign(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A bundle, or a kit that `make airgap` wrote.")],
    key: Annotated[Path, typer.Option(metavar="KEY", help="A private key on the curve P-256, PEM, not encrypted.")],
    force: Force = False,
) -> None:
    """Sign a bundle or a kit with ECDSA, so that a machine without a network can check who made it.

    Example: c2llm-lite sign c2llm-int8 --key signer.key
    """
    from ..signature import sign as write_signature

    out.print(f"{write_signature(folder, key, replace=force)}: signed")
