"""What a machine has already, as pip takes it: `there.py FREEZE.txt FOLDER`, the former from `pip freeze` there.

For each library an empty wheel of its name and version goes to FOLDER, and constraints.txt, under which pip takes that
wheel in place of the library: nothing large is fetched, and what a library would ask for in turn is not asked for.
"""

import re
import sys
import zipfile
from pathlib import Path

NEWEST = "9999"  # of a library whose version is not told: it is taken to fit


def main(freeze: Path, folder: Path) -> None:
    """Write the wheels and constraints.txt."""
    constraints = []
    for line in freeze.read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"([A-Za-z0-9._-]+)(?:==([^ ;]+))?", line.strip()):
            name, version = found[1], found[2] or NEWEST
            wheel = _empty(folder, name, version)
            constraints.append(f"{name} @ {wheel.resolve().as_uri()}\n")
    (folder / "constraints.txt").write_text("".join(constraints), encoding="utf-8")


def _empty(folder: Path, name: str, version: str) -> Path:
    """A wheel with no files but its metadata (the wheel format's version 1.0)."""
    stem = f"{re.sub(r'[-_.]+', '_', name)}-{version}"
    info = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for part, text in info.items():
            file.writestr(f"{stem}.dist-info/{part}", text)
    return path


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
