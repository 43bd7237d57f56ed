#!/bin/sh
# Installs c2llm-lite and its bundle out of this folder alone, with no network, and proves that they work here.
#
#   ./install.sh FOLDER        a virtual environment and the bundle go there; PYTHON=… names another Python
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
if [ $# -ne 1 ]; then
    echo "usage: $0 FOLDER   (a new folder, for the virtual environment and the bundle)" >&2
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
echo "checking the kit's files"
if ! (cd "$here" && sha256sum --check --quiet SHA256SUMS); then
    echo "the kit was damaged on its way: copy it again" >&2
    exit 1
fi
mkdir -p "$1"
target=$(cd "$1" && pwd)
trap 'rm -rf "$target"' EXIT  # until all is done
"$python" -m venv "$target/venv"
"$target/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --find-links "$here/wheels" \
    --requirement "$here/requirements.txt"
cp -r "$here/bundle" "$target/bundle"
"$target/venv/bin/c2llm-lite" verify "$target/bundle"
trap - EXIT
echo "installed. Try:"
echo "  echo 'def add(a, b): return a + b' | $target/venv/bin/c2llm-lite embed $target/bundle - -o vectors.npy"
