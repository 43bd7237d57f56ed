#!/bin/sh
# Installs c2llm-lite and its bundle out of this folder alone, with no network, and proves that they work here.
#
#   ./install.sh [--public-key PUB] FOLDER      installs, or upgrades what an earlier kit installed there
#   ./install.sh --rollback FOLDER              goes back to what was current before
#
# PUB: the signer's public key, which must not come from this folder. PYTHON=… names another Python.
#
#   FOLDER/current             a link to the release in use; replaced by one rename, after the new release has verified
#   FOLDER/previous            a link to the release before it
#   FOLDER/releases/KIT        one kit's virtual environment, and a link to its bundle
#   FOLDER/bundles/MANIFEST    each bundle once, by its manifest's hash; never removed here
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
public_key=
rollback=
case ${1:-} in
    --public-key) if [ $# -eq 3 ]; then public_key=$2 && shift 2; else set --; fi ;;
    --rollback) rollback=yes && shift ;;
esac
if [ $# -ne 1 ]; then
    echo "usage: $0 [--public-key PUB] FOLDER   or   $0 --rollback FOLDER" >&2
    exit 2
fi

# The release $2 becomes current in folder $1, and the one before it previous.
switch() {
    before=$(readlink "$1/current" || true)
    if [ -n "$before" ] && [ "$before" != "$2" ]; then
        ln -sfn "$before" "$1/next"
        mv -T "$1/next" "$1/previous"
    fi
    ln -sfn "$2" "$1/next"
    mv -T "$1/next" "$1/current"
}

if [ -n "$rollback" ]; then
    if ! before=$(readlink "$1/previous") || [ ! -e "$1/$before/complete" ]; then
        echo "$1 has no earlier release to go back to" >&2
        exit 1
    fi
    switch "$1" "$before"
    echo "$1/current is $before again"
    exit 0
fi
if [ -e "$1" ] && [ ! -d "$1/releases" ] && [ -n "$(ls -A "$1")" ]; then
    echo "$1 is there already and no kit was installed in it: name another folder" >&2
    exit 1
fi
want=$(cat "$here/python-version")
have=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || exit 1
if ! "$python" -c 'import os; os.confstr("CS_GNU_LIBC_VERSION")' 2> /dev/null; then
    echo "this system's C library is not glibc (Alpine's is musl), which the wheels here need: use another system" >&2
    exit 1
fi
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
check='import sys; sys.path.insert(0, sys.argv[1]); from c2llm_lite.doctor.kit import main; sys.exit(main(*sys.argv[2:]))'
if ! "$python" -I -c "$check" "$own" "$here" "$1"; then
    echo "nothing was installed: fix the lines above that begin with FIX, and try again" >&2
    exit 1
fi

mkdir -p "$1/releases" "$1/bundles"
target=$(cd "$1" && pwd)
kit=$(sha256sum < "$here/SHA256SUMS" | cut -c 1-16)
release=$target/releases/$kit
bundle=$target/bundles/$(cut -c 1-16 "$here/bundle/manifest.sha256")
if [ ! -e "$release/complete" ]; then
    rm -rf "$release" "$bundle.partial"  # what an interrupted install left
    # A failure removes what this kit made, and the folders that are then empty.
    trap 'rm -rf "$release" "$bundle.partial"; rmdir "$target/releases" "$target/bundles" "$target" 2> /dev/null || true' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    mkdir "$release"
    beside=
    if [ -e "$here/installed.txt" ]; then beside=--system-site-packages; fi  # the kit was made with HAVE
    "$python" -m venv $beside "$release/venv"
    faster=  # llama.cpp for CPUs with an instruction, whose build number pip prefers; the other runs on older ones too
    for folder in "$here"/wheels/*/; do
        if grep -qsw "$(basename "$folder")" /proc/cpuinfo; then faster=$folder; fi
    done
    "$release/venv/bin/python" -m pip --isolated install --quiet --disable-pip-version-check --no-index --no-deps \
        --require-hashes --find-links "$here/wheels" ${faster:+--find-links "$faster"} \
        --requirement "$here/requirements.txt"
    new=$bundle
    if [ ! -e "$bundle" ]; then
        new=$bundle.partial
        cp -r "$here/bundle" "$new"
    fi
    "$release/venv/bin/c2llm-lite" verify "$new" ${public_key:+--public-key "$public_key"}
    if [ "$new" != "$bundle" ]; then mv "$new" "$bundle"; fi
    ln -s "../../bundles/${bundle##*/}" "$release/bundle"
    sync
    touch "$release/complete"
    trap - EXIT INT TERM HUP
else
    "$release/venv/bin/c2llm-lite" verify "$release/bundle" ${public_key:+--public-key "$public_key"}
fi
switch "$target" "releases/$kit"
echo "installed. Try:"
echo "  echo 'def add(a, b): return a + b' | $target/current/venv/bin/c2llm-lite embed $target/current/bundle - -o vectors.npy"
