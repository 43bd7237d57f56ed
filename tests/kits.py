"""Kits for machines without a network, with a small wheel in the place of this package's, and install.sh run on them.

The wheel has the modules that install.sh runs before it installs anything, and a command `c2llm-lite` that accepts any
bundle and prints the version.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import c2llm_lite

INSTALLER = Path(__file__).parents[1] / "airgap/install.sh"
LOCK = INSTALLER.with_name("lock.py")
SUMS = "find . -type f ! -path './SHA256SUMS*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum > SHA256SUMS"


COMMAND = "print('c2llm-lite', VERSION)"
BUNDLE = "a" * 64  # the hash of a bundle's manifest


def write_wheel(folder: Path, version: str, command: str = COMMAND) -> Path:
    """The small wheel. command: what `c2llm-lite` runs, one line of Python."""
    package = Path(c2llm_lite.__file__).parent
    info = f"c2llm_lite-{version}.dist-info"
    content = {
        f"c2llm_lite/{path.relative_to(package)}": path.read_text()
        for path in [*package.glob("*.py"), *(package / "doctor").glob("*.py")]
    }
    content |= {
        "kit_command.py": f"VERSION = {version!r}\ndef main():\n    {command}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: c2llm-lite\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nc2llm-lite = kit_command:main\n",
        f"{info}/RECORD": "",
    }
    wheel = folder / f"c2llm_lite-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return wheel


def write_kit(folder: Path, version: str = "1.0", *, command: str = COMMAND, bundle: str = BUNDLE) -> Path:
    """A kit with the small wheel, and with a bundle that has nothing but its hash."""
    (folder / "wheels").mkdir(parents=True)
    write_wheel(folder / "wheels", version, command)
    (folder / "bundle").mkdir()
    (folder / "bundle" / "manifest.sha256").write_text(f"{bundle}  manifest.json\n")
    shutil.copy(INSTALLER, folder)
    (folder / "python-version").write_text(f"{sys.version_info.major}.{sys.version_info.minor}\n")
    lock_kit(folder)
    seal_kit(folder)
    return folder


def lock_kit(folder: Path) -> None:
    """Write requirements.txt, as collect.sh does."""
    lock = subprocess.run([sys.executable, LOCK, folder / "wheels"], capture_output=True, text=True, check=True)
    (folder / "requirements.txt").write_text(lock.stdout)


def seal_kit(folder: Path) -> None:
    """Write SHA256SUMS, as collect.sh does."""
    subprocess.run(["bash", "-c", SUMS], cwd=folder, check=True)


def install(
    kit: Path, *arguments: str | Path, python: str | Path = sys.executable, path: str = "/usr/bin:/bin"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", kit / "install.sh", *arguments],
        capture_output=True,
        text=True,
        env={"PATH": path, "PYTHON": str(python)},
    )
