"""What a kit still lacks: `missing.py WHEELS PYTHON ARCH REQUIREMENT…` prints each requirement that has no wheel.

pip evaluates markers for the Python that runs pip, even where it downloads for another: a kit for 3.10 made by 3.11
would lack what is asked for under `python_version < "3.11"`, and a kit for aarch64 what only aarch64 needs.
"""

import sys
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename


def main(wheels: Path, python: str, arch: str, roots: list[str]) -> None:
    """Print the lines, sorted, as pip takes them."""
    full = f"{python}.0"
    environment = dict(default_environment()) | {
        "python_version": python,
        "python_full_version": full,
        "implementation_version": full,
        "platform_machine": arch,
    }
    there = {parse_wheel_filename(wheel.name)[0]: _metadata(wheel) for wheel in wheels.glob("*.whl")}
    missing: set[str] = set()
    seen: set[tuple[str, str]] = set()
    todo = [Requirement(root) for root in roots]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if name not in there:
            missing.add(f"{name}{requirement.specifier}")
            continue
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            needs = map(Requirement, there[name].get_all("Requires-Dist", []))
            todo += [
                need for need in needs if need.marker is None or need.marker.evaluate(environment | {"extra": extra})
            ]
    print("\n".join(sorted(missing)))


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1]
        return message_from_bytes(archive.read(name))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
