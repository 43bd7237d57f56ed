"""Kits for machines without a network, with one wheel that installs nothing, and what install.sh does with them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

INSTALLER = Path(__file__).parents[1] / "airgap/install.sh"
SUMS = "find . -type f ! -path './SHA256SUMS*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum > SHA256SUMS"


def write_kit(folder: Path) -> Path:
    """A kit without wheels and without a bundle."""
    (folder / "wheels").mkdir(parents=True)
    shutil.copy(INSTALLER, folder)
    (folder / "requirements.txt").write_text("c2llm-lite\n")
    (folder / "python-version").write_text(f"{sys.version_info.major}.{sys.version_info.minor}\n")
    seal_kit(folder)
    return folder


def seal_kit(folder: Path) -> None:
    """Write SHA256SUMS, as collect.sh does."""
    subprocess.run(["bash", "-c", SUMS], cwd=folder, check=True)


def install(kit: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", kit / "install.sh", *arguments],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
    )
