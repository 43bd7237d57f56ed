"""Downloads the packages that the questions are about, at fixed versions, and unpacks their code."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

PYTHON = ("itsdangerous==2.2.0", "tenacity==9.0.0")
JAVASCRIPT = ("express@4.19.2",)
CODE = (".py", ".js", ".mjs", ".ts", ".mts")
BUILD = Path("build/search_questions")


def fetched() -> Path:
    """The folder with one folder of code for each package."""
    tree, archives = BUILD / "tree", BUILD / "archives"
    if tree.is_dir():
        return tree
    archives.mkdir(parents=True, exist_ok=True)
    for package in PYTHON:
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", package)
        subprocess.run((*pip, "--dest", str(archives)), check=True)
    for package in JAVASCRIPT:
        subprocess.run(("npm", "pack", "--silent", package, "--pack-destination", str(archives)), check=True)
    unpacked = BUILD / "unpacking"
    shutil.rmtree(unpacked, ignore_errors=True)
    wanted = {package.replace("==", "-").replace("@", "-") for package in PYTHON + JAVASCRIPT}
    for archive in sorted(archives.iterdir()):
        if any(archive.name.startswith(f"{name}-") or archive.name == f"{name}.tgz" for name in wanted):
            _unpack(archive, unpacked / archive.name.split("-")[0])
    unpacked.rename(tree)
    return tree


def _unpack(archive: Path, folder: Path) -> None:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(folder, [name for name in opened.namelist() if name.endswith(CODE)])
        return
    with tarfile.open(archive) as opened:
        for member in opened.getmembers():
            if member.isfile() and member.name.endswith(CODE):
                member.name = member.name.partition("/")[2]
                opened.extract(member, folder, filter="data")


if __name__ == "__main__":
    print(fetched())
