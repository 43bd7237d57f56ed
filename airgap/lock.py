"""The lock file of a kit: `lock.py WHEELS` prints name, version and SHA-256 of each wheel, for pip's --require-hashes.

A wheel in a folder below is another build of one above it, for some CPUs: either may be installed. It is the kit's
requirements.txt, and as LOCK= it gives another kit the same libraries. Standard library alone.
"""

import hashlib
import re
import sys
from pathlib import Path


def main(wheels: Path) -> None:
    """Print the lines, sorted. Exits with 1 if two wheels are of one library."""
    lines: dict[str, str] = {}
    for wheel in sorted(wheels.glob("*.whl")):
        escaped, version = wheel.name.split("-")[:2]
        name = re.sub(r"[-_.]+", "-", escaped).lower()  # PEP 503
        if name in lines:
            sys.exit(f"{wheels} has two wheels of {name}; remove one")
        builds = [wheel, *sorted(wheels.glob(f"*/{escaped}-{version}-*.whl"))]
        lines[name] = f"{name}=={version}" + "".join(f" --hash=sha256:{_digest(build)}" for build in builds)
    print("\n".join(line for _, line in sorted(lines.items())))


def _digest(wheel: Path) -> str:
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
