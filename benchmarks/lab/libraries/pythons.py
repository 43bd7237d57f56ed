"""Finds a Python of each version: on PATH, where pyenv keeps them, or, as root, in a Debian of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Debian's release that has a Python which the machine may lack, and debootstrap's script for all of its releases.
DEBIAN = {"3.14": "forky"}
SCRIPT = "/usr/share/debootstrap/scripts/sid"
ARCHIVE = "http://deb.debian.org/debian"
PACKAGES = "python3,python3-venv,python3-pip,ca-certificates,libgomp1,git"
SHARED = ("/proc", "/dev", "/sys", "/tmp", "/etc/resolv.conf", "/etc/ssl")


@dataclass(frozen=True)
class Python:
    """An interpreter. root: of the Debian that holds it; None for this machine's own."""

    path: str
    root: Path | None = None

    def command(self, arguments: list[str], folders: list[Path]) -> list[str]:
        """`arguments` as they are started: in its root, with `folders` at their own paths, in the last of them."""
        if self.root is None:
            return arguments
        shared = [path for path in (*SHARED, *map(str, folders)) if Path(path).exists()]
        mounts = "; ".join(f"mount --rbind '{path}' '{self.root}{path}'" for path in shared)
        # The mounts are in a namespace of their own and go with it.
        inner = f'{mounts}; exec chroot "{self.root}" env -C "{folders[-1]}" "$@"'
        for path in shared:
            place = Path(f"{self.root}{path}")
            if Path(path).is_dir():
                place.mkdir(parents=True, exist_ok=True)
            elif not place.exists():
                place.touch()
        return ["unshare", "--mount", "sh", "-ec", inner, "sh", *arguments]


def find(version: str, folder: Path) -> Python | None:
    """A Python of `version`, "3.12"; a Debian is made in `folder` where it is needed and can be."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for path in sorted(kept.glob(f"{version}.*/bin/python"), reverse=True):
        return Python(str(path))
    if found := shutil.which(f"python{version}"):
        return Python(found)
    if version not in DEBIAN or os.geteuid() != 0 or shutil.which("debootstrap") is None:
        return None
    root = folder / DEBIAN[version]
    if not (root / "usr" / "bin" / f"python{version}").exists():
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", DEBIAN[version], str(root), ARCHIVE]
        subprocess.run([*command, SCRIPT], check=True, stdout=subprocess.DEVNULL)
    return Python(f"/usr/bin/python{version}", root)
