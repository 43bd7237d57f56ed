#!/usr/bin/env bash
# Collects into one folder all that a machine without a network needs: wheels, a bundle, an installer, checksums.
#
#   airgap/collect.sh KIT BUNDLE EXTRAS [REQUIREMENT …]
#
# EXTRAS: of c2llm-lite, comma-separated, the bundle's engine among them. REQUIREMENT: what else is to be there.
#
#   PYTHON_VERSION=3.12                        for another Python than this machine's
#   ARCH=aarch64                               for another architecture than x86_64
#   LOCK=KIT/requirements.txt                  the same versions of libraries as in that kit, by hash
#   HAVE=FREEZE.txt                            what `pip freeze` says there: libraries that it has stay as they are, and
#                                              the kit is installed beside them
#   SPLIT=48M                                  the kit as KIT.tar.00, KIT.tar.01 … of at most this size
#   SIGN_KEY=signer.key                        signs the bundle and the kit, and adds the extra `sign` to check them there
#
# The kit serves Linux machines with this machine's C library or newer. The same commit, bundle, lock, key and setuptools
# give the same kit, byte for byte. What is compiled here (compile.sh: llama-cpp-python, for old CPUs and for newer ones) is
# kept in build/airgap and used again, since compiling it twice need not give the same bytes.
set -euo pipefail
kit=$1 bundle=$2 extras=$3
shift 3
arch=${ARCH:-x86_64}
export SOURCE_DATE_EPOCH=315532800  # 1980, the first time that a zip file can hold: wheels made here have no other
if [ -n "${SIGN_KEY:-}" ]; then extras+=,sign; fi
python=${PYTHON:-python3}
version=${PYTHON_VERSION:-$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')}
here=$(cd "$(dirname "$0")" && pwd)
built=build/airgap

umask 022  # a wheel has its files' modes, and whoever installs the kit must be able to read it
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
rm -rf "$kit.partial"
mkdir -p "$kit.partial/wheels" "$built"

requirement=$(grep -o 'llama-cpp-python==[0-9.]*' pyproject.toml)
if [[ ",$extras," == *,llama-cpp,* ]]; then
    PYTHON=$python "$here/compile.sh" "$requirement" "$arch" "$built"
    # install.sh chooses between the one in the kit's wheels and the one for CPUs with an instruction.
    for faster in "$built"/*/llama_cpp_python-"${requirement#*==}"-*"linux_$arch.whl"; do
        folder=$kit.partial/wheels/$(basename "$(dirname "$faster")")
        if [ -e "$faster" ]; then mkdir -p "$folder" && cp "$faster" "$folder/"; fi
    done
fi

# From a copy, whose modes are not those of this checkout, and without what an earlier build left in build/.
mkdir "$scratch/own"
cp -r --no-preserve=mode pyproject.toml README.md LICENSE c2llm_lite convert benchmarks "$scratch/own/"
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$kit.partial/wheels" "$scratch/own"
own=$(echo "$kit.partial"/wheels/c2llm_lite-*.whl)
echo "fetching the libraries of c2llm-lite[$extras]"
# A wheel found here goes before a source of the same version.
options=(--quiet --prefer-binary --find-links "$built" --dest "$kit.partial/wheels")
if [ -n "${PYTHON_VERSION:-}${ARCH:-}" ]; then
    options+=(--only-binary :all: --implementation cp --python-version "$version")
    libc=$(getconf GNU_LIBC_VERSION)
    for minor in $(seq 17 "${libc##*.}"); do options+=(--platform "manylinux_2_${minor}_$arch"); done
    options+=(--platform "manylinux2014_$arch" --platform "manylinux1_$arch" --platform "linux_$arch")
fi
if [ -n "${HAVE:-}" ]; then
    there=$scratch/there
    mkdir "$there"
    "$python" "$here/there.py" "$HAVE" "$there"
    options+=(--constraint "$there/constraints.txt")
fi
if [ -n "${LOCK:-}" ]; then
    grep --invert-match '^c2llm-lite==' "$LOCK" > "$kit.partial/others.txt"
    "$python" -m pip download "${options[@]}" --no-deps --require-hashes --requirement "$kit.partial/others.txt"
    rm "$kit.partial/others.txt"
else
    "$python" -m pip download "${options[@]}" "$own[$extras]" "$@"
    while true; do
        missing=$("$python" "$here/missing.py" "$kit.partial/wheels" "$version" "$arch" "c2llm-lite[$extras]" "$@")
        if [ -z "$missing" ]; then break; fi
        xargs "$python" -m pip download "${options[@]}" --no-deps <<< "$missing"
    done
fi
if [ -n "${HAVE:-}" ]; then
    for stub in "$there"/*.whl; do rm -f "$kit.partial/wheels/${stub##*/}"; done
    cp "$HAVE" "$kit.partial/installed.txt"
fi
if compgen -G "$kit.partial/wheels/*.tar.gz" > /dev/null; then
    echo "these have no wheel, and the machine without a network may have no compiler:" "$kit.partial"/wheels/*.tar.gz >&2
    exit 1
fi
"$python" "$here/lock.py" "$kit.partial/wheels" > "$kit.partial/requirements.txt"
echo "$version" > "$kit.partial/python-version"
cp -rL "$bundle" "$kit.partial/bundle"
if [[ -n ${SIGN_KEY:-} && -e $bundle/manifest.json ]]; then
    "$python" -m c2llm_lite sign "$kit.partial/bundle" --key "$SIGN_KEY" --force
fi
cp "$here/install.sh" LICENSE "$kit.partial/"
"$python" "$here/sbom.py" "$kit.partial"
(cd "$kit.partial" && find . -type f ! -path ./SHA256SUMS -print0 | LC_ALL=C sort -z | xargs -0 sha256sum > SHA256SUMS)
if [ -n "${SIGN_KEY:-}" ]; then "$python" -m c2llm_lite sign "$kit.partial" --key "$SIGN_KEY"; fi
rm -rf "$kit"
mv "$kit.partial" "$kit"
du -sh "$kit"
if [ -n "${SPLIT:-}" ]; then
    rm -f "$kit".tar.*
    tar --directory "$kit" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=go+rX,go-w --create . |
        split --numeric-suffixes --bytes "$SPLIT" - "$kit.tar."
    echo "there: mkdir kit && cat $(basename "$kit").tar.* | tar --directory kit --extract"
    ls -l "$kit".tar.*
fi
