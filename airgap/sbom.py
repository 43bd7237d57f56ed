"""The bill of materials of a kit: `sbom.py KIT` writes KIT/sbom.json, CycloneDX 1.6, and KIT/licenses.

Every wheel with version, hash, license and package URL; the bundle as a machine-learning model with the hash of each of
its files. The same kit gives the same bytes. The library's own schema check must pass.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import uuid
import zipfile
from collections.abc import Iterator
from datetime import datetime, timezone
from email import message_from_bytes
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

TEXTS = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS", "COPYRIGHT", "THIRD")  # how files of licenses begin
SPDX = {  # classifiers that mean one license; "BSD License" may be one of several
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
}


def main(kit: Path) -> None:
    """Write both. Exits with 1 if the schema check fails; names wheels without a license's text."""
    components = []
    for wheel in sorted((kit / "wheels").rglob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            metadata = _metadata(archive)
            components.append(_library(wheel, metadata))
            texts = dict(_license_texts(archive))
        folder = kit / "licenses" / f"{metadata['Name']}-{metadata['Version']}"
        for name, content in texts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if not texts:
            print(f"{wheel.name} has no text of a license; its metadata says {_license(metadata)}", file=sys.stderr)
    manifest = kit / "bundle" / "manifest.json"
    if manifest.is_file():
        components.append(_model(manifest))
    text = _json(components)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"the bill of materials is not valid CycloneDX 1.6: {error}")
    (kit / "sbom.json").write_text(text + "\n", encoding="utf-8")


def _json(components: list[Component]) -> str:
    whole = Component(name="c2llm-lite kit", type=ComponentType.APPLICATION, bom_ref="kit")
    bom = Bom(components=components)
    bom.metadata.component = whole
    bom.metadata.timestamp = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", 0)), timezone.utc)
    parts = "\n".join(sorted(str(digest.content) for part in components for digest in part.hashes))
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, parts)
    bom.register_dependency(whole, components)
    return str(JsonV1Dot6(bom).output_as_string(indent=1))


def _library(wheel: Path, metadata: Message) -> Component:
    url = PackageURL("pypi", None, metadata["Name"].lower().replace("_", "-"), metadata["Version"])
    return Component(
        name=metadata["Name"],
        version=metadata["Version"],
        type=ComponentType.LIBRARY,
        bom_ref=wheel.name,
        purl=url,
        hashes=[_hash(hashlib.sha256(wheel.read_bytes()).hexdigest())],
        licenses=_licenses(metadata),
        properties=[Property(name="c2llm-lite:wheel", value=wheel.name)],
    )


def _model(path: Path) -> Component:
    content = path.read_bytes()
    manifest: dict[str, Any] = json.loads(content)
    calibration = manifest["notes"].get("calibration")
    properties = {
        "source": manifest["source"]["name"],
        "source.revision": manifest["source"]["revision"],
        "source.sha256": manifest["source"]["sha256"],
        "quantization": manifest["target"],
        "calibration.sha256": calibration["sha256"] if calibration else None,
    }
    properties |= {f"probe.{i}.cosine": probe["cosine"] for i, probe in enumerate(manifest["probes"])}
    files = [
        Component(name=name, type=ComponentType.FILE, bom_ref=f"bundle/{name}", hashes=[_hash(record["sha256"])])
        for name, record in sorted(manifest["files"].items())
    ]
    return Component(
        name=manifest["source"]["name"],
        version=manifest["source"]["revision"] or manifest["source"]["sha256"][:16],
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref="bundle",
        hashes=[_hash(hashlib.sha256(content).hexdigest())],
        components=files,
        properties=[
            Property(name=f"c2llm-lite:{name}", value=str(value))
            for name, value in properties.items()
            if value is not None
        ],
    )


def _hash(content: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=content)


def _licenses(metadata: Message) -> list[License]:
    name = _license(metadata)
    return [LicenseFactory().make_from_string(name)] if name else []


def _license(metadata: Message) -> str | None:
    """The license expression, else an SPDX name of a classifier, the first line of the older field, or a classifier."""
    if expression := metadata["License-Expression"]:
        return str(expression)
    classifiers = [line for line in metadata.get_all("Classifier", []) if line.startswith("License :: ")]
    for classifier in classifiers:
        if classifier in SPDX:
            return SPDX[classifier]
    older = str(metadata["License"] or "").strip().splitlines()
    names = [*older[:1], *(classifier.rpartition(" :: ")[2] for classifier in classifiers)]
    return names[0] if names else None


def _metadata(archive: zipfile.ZipFile) -> Message:
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1]
    return message_from_bytes(archive.read(name))


def _license_texts(archive: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    """Files of licenses, by their path below dist-info."""
    for name in archive.namelist():
        path = PurePosixPath(name)
        if name.endswith("/") or ".dist-info" not in path.parts[0] or ".." in path.parts:
            continue
        inner = path.relative_to(path.parts[0])
        if inner.parts[0] in {"licenses", "license_files"} or path.name.upper().startswith(TEXTS):
            yield str(inner), archive.read(name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
