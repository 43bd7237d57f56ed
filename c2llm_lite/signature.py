"""Signatures of bundles and of kits for machines without a network.

ECDSA on the curve P-256 with SHA-256, DER-encoded, in a file beside the signed one, so that
`openssl dgst -sha256 -verify` checks it too. A bundle's manifest.sha256 is signed, or a kit's SHA256SUMS: through their
hashes, the signature covers every file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from . import bundle as bundles
from .arguments import as_path
from .durable import durable
from .errors import ArgumentError, BundleError, MissingDependencyError, OutputError
from .files import read_start

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey

PublicKey = str | Path | Sequence[str | Path]
CHECKSUMS = "SHA256SUMS"  # of a kit
SUFFIX = ".sig"


def sign(folder: str | Path, key: str | Path, *, replace: bool = False) -> Path:
    """Sign a bundle or a kit.

    Args:
        folder: The bundle, each of whose files is hashed first; or the kit.
        key: A private key on the curve P-256, PEM, not encrypted.
        replace: Replace an existing signature.

    Returns:
        The signature's file.

    Raises:
        ArgumentError: `folder` is neither, or `key` is not such a key.
        BundleError: A file of the bundle is missing or altered, or the manifest does not list it.
        OutputError: The folder is already signed, or cannot be written.
    """
    folder = as_path(folder, "the folder to sign")
    if (folder / bundles.MANIFEST_HASH).is_file():
        _refuse_unlisted(bundles.open_bundle(folder, check=True))
        signed = folder / bundles.MANIFEST_HASH
    elif (folder / CHECKSUMS).is_file():
        signed = folder / CHECKSUMS
    else:
        raise ArgumentError(f"{folder} has neither {bundles.MANIFEST_HASH} nor {CHECKSUMS}; pass a bundle or a kit")
    private = _private_key(as_path(key, "the private key"))
    output = signed.with_name(signed.name + SUFFIX)
    if output.exists() and not replace:
        raise OutputError(f"{output} exists; replace the signature with --force")
    with durable(output) as file:
        # The nonce of RFC 6979 is derived from key and content, so that the same input gives the same signature.
        file.write(private.sign(signed.read_bytes(), _ecdsa(deterministic=True)))
    return output


def open_bundle(
    folder: str | Path,
    *,
    check: bool = False,
    public_key: PublicKey | None = None,
    revoked: str | Path | None = None,
) -> bundles.Bundle:
    """Open a bundle; with `public_key` or `revoked`, only as load() says.

    Raises BundleError if the bundle is not signed by one of the keys, is revoked, or has a file that was altered or
    that the manifest does not list; ArgumentError for what is not a public key or not a list of hashes.
    """
    if public_key is None:
        if revoked is not None:
            raise ArgumentError("a list of revoked bundles needs a public key: without one, any change evades the list")
        return bundles.open_bundle(folder, check=check)
    keys = [_public_key(path) for path in _paths(public_key)]
    if not keys:
        raise ArgumentError("public_key is empty; pass at least one public key")
    hashes = set() if revoked is None else _hashes(as_path(revoked, "the list of revoked bundles"))
    opened = bundles.open_bundle(folder)
    _check_signature(opened, keys)
    if opened.sha256 in hashes:
        raise BundleError(f"{opened.folder} is revoked: {revoked} lists its manifest's hash; use another bundle")
    for name in opened.manifest.files:
        opened.check(name)
    _refuse_unlisted(opened)
    return opened


def to_repeat(public_key: PublicKey | None, revoked: str | Path | None) -> dict[str, object]:
    """The same arguments of load(), for another working folder."""
    keys = None if public_key is None else [str(path.resolve()) for path in _paths(public_key)]
    return {"public_key": keys, "revoked": None if revoked is None else str(Path(revoked).resolve())}


def _paths(public_key: PublicKey) -> list[Path]:
    several = [public_key] if isinstance(public_key, str | os.PathLike) else public_key
    if not isinstance(several, Sequence):
        raise ArgumentError(f"public_key is {public_key!r:.80}: pass a path, or a list of paths")
    return [as_path(path, "a public key") for path in several]


def _check_signature(bundle: bundles.Bundle, keys: list[EllipticCurvePublicKey]) -> None:
    from cryptography.exceptions import InvalidSignature

    path = bundle.path(bundles.SIGNATURE)
    if not path.is_file():
        raise BundleError(f"{bundle.folder} has no {path.name}; its maker signs it with `c2llm-lite sign`")
    # The hash of the manifest that was parsed, so that a file changed since then does not matter.
    signature, content = read_start(path), bundles.hash_line(bundle.sha256)
    for key in keys:
        try:
            key.verify(signature, content, _ecdsa())
            return
        except InvalidSignature:
            continue
    raise BundleError(
        f"{bundle.folder}: no given public key belongs to {path.name}; the bundle was altered, or another key "
        "signed it; do not use it before its maker has given you that key"
    )


def _refuse_unlisted(bundle: bundles.Bundle) -> None:
    if unlisted := bundle.unlisted():
        raise BundleError(
            f"{bundle.folder}: {', '.join(map(repr, unlisted))} not listed in {bundles.MANIFEST}; remove what is not "
            "the bundle's, or copy the bundle again"
        )


def _hashes(path: Path) -> set[str]:
    """The first word of each line, as in manifest.sha256; blank lines and those that begin with # are skipped."""
    found = set()
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        word = line.partition(" ")[0].strip().lower()
        if not word or word.startswith("#"):
            continue
        if not re.fullmatch("[0-9a-f]{64}", word):
            raise ArgumentError(f"{path}, line {number}: not a SHA-256; copy the line of manifest.sha256")
        found.add(word)
    return found


def _private_key(path: Path) -> EllipticCurvePrivateKey:
    _require_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except TypeError:
        raise ArgumentError(
            f"{path} is encrypted; decrypt it with openssl pkey, or sign with it yourself: openssl dgst -sha256 -sign "
            f"{path} -out manifest.sha256.sig manifest.sha256"
        ) from None
    except Exception as error:  # cryptography's own UnsupportedAlgorithm is no ValueError
        raise ArgumentError(f"{path} is not a private key in PEM: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ArgumentError(
            f"{path} is not a key on the curve P-256; openssl ecparam -name prime256v1 -genkey makes one"
        )
    return key


def _public_key(path: Path) -> EllipticCurvePublicKey:
    _require_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    content = path.read_bytes()
    try:
        key = serialization.load_pem_public_key(content)
    except Exception as error:
        raise ArgumentError(
            f"{path} is not a public key in PEM ({error}); write it: openssl pkey -in KEY -pubout -out PUB"
        ) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ArgumentError(f"{path} is not a key on the curve P-256, which signatures here use")
    return key


def _ecdsa(*, deterministic: bool = False) -> ECDSA:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.ECDSA(hashes.SHA256(), deterministic_signing=deterministic)


def _require_cryptography() -> None:
    try:
        import_module("cryptography")
    except ModuleNotFoundError:
        raise MissingDependencyError("cryptography", "sign", "a signature") from None
