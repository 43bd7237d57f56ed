#!/bin/sh
# Installs c2llm-lite and its bundle out of this folder alone, with no network, and proves that they work here.
#
#   ./install.sh [--public-key PUB] FOLDER
#
# FOLDER: new; a virtual environment and the bundle go there. PUB: the signer's public key, which must not come from this
# folder. PYTHON=… names another Python.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
public_key=
if [ "${1:-}" = --public-key ] && [ $# -ge 2 ]; then
    public_key=$2
    shift 2
fi
if [ $# -ne 1 ]; then
    echo "usage: $0 [--public-key PUB] FOLDER   (a new folder, for the virtual environment and the bundle)" >&2
    exit 2
fi
if [ -e "$1" ]; then
    echo "$1 is there already: name a new folder, or remove it" >&2
    exit 1
fi
want=$(cat "$here/python-version")
have=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || exit 1
if [ "$have" != "$want" ]; then
    echo "the wheels here are for Python $want, and $python is $have: name another, PYTHON=/path/to/python$want $0 $1" >&2
    exit 1
fi
if [ -n "$public_key" ]; then
    echo "checking the kit's signature"
    if ! openssl dgst -sha256 -verify "$public_key" -signature "$here/SHA256SUMS.sig" "$here/SHA256SUMS"; then
        echo "$public_key does not verify this kit: do not use it, and ask its maker" >&2
        exit 1
    fi
fi
echo "checking the kit's files"
if ! (cd "$here" && sha256sum --check --strict --quiet SHA256SUMS); then
    echo "the kit was damaged on its way: copy it again" >&2
    exit 1
fi
listed=$(cut -c 67- "$here/SHA256SUMS")
found=$(cd "$here" && find . ! -type d ! -path ./SHA256SUMS ! -path ./SHA256SUMS.sig | LC_ALL=C sort)
if [ "$found" != "$listed" ]; then
    echo "the kit has files that SHA256SUMS does not list: copy it again" >&2
    exit 1
fi
echo "checking this machine"
own=$(echo "$here"/wheels/c2llm_lite-*.whl)
if ! "$python" -I -c 'import sys; sys.path.insert(0, sys.argv[1]); from c2llm_lite.doctor.kit import main; sys.exit(main(*sys.argv[2:]))' \
    "$own" "$here" "$1"; then
    echo "nothing was installed: fix the lines above that begin with FIX, and try again" >&2
    exit 1
fi
mkdir -p "$1"
target=$(cd "$1" && pwd)
trap 'rm -rf "$target"' EXIT  # until all is done
"$python" -m venv "$target/venv"
"$target/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --find-links "$here/wheels" \
    --requirement "$here/requirements.txt"
cp -r "$here/bundle" "$target/bundle"
"$target/venv/bin/c2llm-lite" verify "$target/bundle" ${public_key:+--public-key "$public_key"}
trap - EXIT
echo "installed. Try:"
echo "  echo 'def add(a, b): return a + b' | $target/venv/bin/c2llm-lite embed $target/bundle - -o vectors.npy"
