"""Downloads the packages that the questions are about, at fixed versions, and unpacks their code.

From PyPI, npm and Debian (Go and Rust, which Debian distributes as source), with each archive's sha256. Their tests are
left out.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

CODE = (".py", ".js", ".mjs", ".ts", ".go", ".c", ".h", ".rs")
TESTS = frozenset({"tests", "benches", "examples", "test.c"})
BUILD = Path("build/search_questions")


@dataclass(frozen=True)
class Package:
    """below: the folder of the archive whose files are taken; it becomes the package's folder of the tree."""

    name: str
    archive: str
    sha256: str
    below: str = ""


GO = "usr/share/gocode/src/github.com"
CRATES = "usr/share/cargo/registry"
PACKAGES = (
    Package(
        "tenacity",
        "tenacity-9.0.0-py3-none-any.whl",
        "93de0c98785b27fcf659856aa9f54bfbd399e29969b0621bc7f762bd441b4539",
    ),
    Package(
        "itsdangerous",
        "itsdangerous-2.2.0-py3-none-any.whl",
        "c6242fc49e35958c8b15141343aa660db5fc54d4f13a1db01a3f5891b98700ef",
    ),
    Package(
        "click", "click-8.1.7-py3-none-any.whl", "ae74fb96c20a0277a1d615f1e4d73c8414f5a98db8b799a7931d1582f3390c28"
    ),
    Package(
        "requests",
        "requests-2.32.3-py3-none-any.whl",
        "70761cfe03c773ceb22aa2f671b4757976145175cdfca038c02654d061d6dcc6",
    ),
    Package(
        "jinja2", "jinja2-3.1.4-py3-none-any.whl", "bc5dd2abb727a5319567b7a813e6a2e7318c39f4f487cfe6c89c6f9c7d25197d"
    ),
    Package("rich", "rich-13.7.1-py3-none-any.whl", "4edbae314f59eb482f54e9e30bf00d33350aaa94f4bfcd4e9e3110e64d0d7222"),
    Package("express", "express-4.19.2.tgz", "1b18c90e7e9fc4cb3e4dfe6b5f11c21b85509162e88ca5c6b63b9c6b5ca085bf"),
    Package("axios", "axios-1.7.2.tgz", "ee0d6056e1ea34aef4979f1b68c64fb978d4f8f667cdc985d739ea70caeb6ba6", "lib"),
    Package("commander", "commander-12.1.0.tgz", "56affc6ddafe486f94b428ae2823d059cf60d4dae2f33eaaf1b1ec4306f73173"),
    Package(
        "cobra",
        "golang-github-spf13-cobra-dev_1.6.1-1_all.deb",
        "4f5d20855133319beef3c5b49d3c21a0406f270bf94fb4b6f4d406b691283cb2",
        f"{GO}/spf13/cobra",
    ),
    Package(
        "mux",
        "golang-github-gorilla-mux-dev_1.8.0-1_all.deb",
        "0880a4019fe68496a0e0a749c2948c029e489f49edd448bed2fedaba33f848c2",
        f"{GO}/gorilla/mux",
    ),
    Package(
        "hiredis",
        "hiredis-3.0.0.tar.gz",
        "fed8581ae26345dea1f1e0d1a96e05041a727a45e7d8d459164583e23c6ac441",
        "vendor/hiredis",
    ),
    Package("lz4", "lz4-4.3.3.tar.gz", "01fe674ef2889dbb9899d8a67361e0c4a2c833af5aeb37dd505727cf5d2a131e", "lz4libs"),
    Package(
        "semver",
        "librust-semver-dev_1.0.14-1_amd64.deb",
        "bf3719b7aac4b7f16f0d68a7037306dbc1532758fe7a5dea01254e85cecaca8c",
        f"{CRATES}/semver-1.0.14",
    ),
    Package(
        "textwrap",
        "librust-textwrap-dev_0.16.0-2_amd64.deb",
        "6cb30f1426dbbbb492ac932e26df3a255d7a44d074f1e63f21e3d37c31f591c1",
        f"{CRATES}/textwrap-0.16.0",
    ),
    Package(
        "bytes",
        "librust-bytes-dev_1.2.1-1_amd64.deb",
        "86fbba5fe9d10f1eeb28944e52cfc8caa75f9a509c3603b70f8107f151744fcc",
        f"{CRATES}/bytes-1.2.1",
    ),
    Package(
        "indexmap",
        "librust-indexmap-dev_1.9.2-1_amd64.deb",
        "691b9efb8df4abdfdb238713c1f66416f31e2c2a33fd15687aae2c4dcb9b5308",
        f"{CRATES}/indexmap-1.9.2",
    ),
)


def fetched() -> Path:
    """The folder with one folder of code for each package."""
    tree, archives, unpacking = (BUILD / name for name in ("tree", "archives", "unpacking"))
    if tree.is_dir():
        return tree
    archives.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(unpacking, ignore_errors=True)
    for package in PACKAGES:
        archive = archives / package.archive
        if not archive.exists():
            _download(package.archive, archives)
        if hashlib.sha256(archive.read_bytes()).hexdigest() != package.sha256:
            sys.exit(f"{archive} has another sha256; delete it")
        whole = unpacking / "whole"
        _unpack(archive, whole)
        _take(whole / package.below, unpacking / "tree" / package.name)
        shutil.rmtree(whole)
    (unpacking / "tree").rename(tree)
    return tree


def _download(archive: str, folder: Path) -> None:
    if archive.endswith((".whl", ".tar.gz")):
        name, version = archive.removesuffix(".tar.gz").split("-")[:2]
        kind = "--only-binary" if archive.endswith(".whl") else "--no-binary"
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", kind, ":all:")
        subprocess.run((*pip, "--dest", str(folder), f"{name}=={version}"), check=True)
    elif archive.endswith(".tgz"):
        name, _, version = archive.removesuffix(".tgz").rpartition("-")
        subprocess.run(("npm", "pack", "--silent", f"{name}@{version}", "--pack-destination", str(folder)), check=True)
    else:
        name, version = archive.split("_")[:2]
        subprocess.run(("apt-get", "download", "--quiet", f"{name}={version}"), cwd=folder, check=True)


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive, a source archive without the one folder that everything is in."""
    folder.mkdir(parents=True)
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(folder)
    elif archive.suffix == ".deb":
        subprocess.run(("dpkg-deb", "--extract", str(archive), str(folder)), check=True)
    else:
        with tarfile.open(archive) as opened:
            for member in opened.getmembers():
                member.name = member.name.partition("/")[2]
                if member.isfile() and member.name:
                    opened.extract(member, folder, filter="data")


def _take(above: Path, folder: Path) -> None:
    """Move the code."""
    for path in sorted(above.rglob("*")):
        below = path.relative_to(above)
        is_test = not TESTS.isdisjoint(below.parts) or path.name.endswith("_test.go")
        if path.is_file() and not path.is_symlink() and path.name.endswith(CODE) and not is_test:
            kept = folder / below
            kept.parent.mkdir(parents=True, exist_ok=True)
            path.rename(kept)


if __name__ == "__main__":
    print(fetched())
