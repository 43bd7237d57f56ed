"""Keys made as docs/air-gap.md makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make_key(folder: Path, name: str, curve: str = "prime256v1") -> tuple[Path, Path]:
    """NAME.key and NAME.pub."""
    key, public = folder / f"{name}.key", folder / f"{name}.pub"
    subprocess.run(["openssl", "ecparam", "-name", curve, "-genkey", "-noout", "-out", key], check=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
    return key, public
