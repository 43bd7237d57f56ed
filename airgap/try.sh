#!/usr/bin/env bash
# Installs a kit where there is no network, embeds, searches, and runs it on an older CPU and on one that is too old
# (emulated). Where strace is, no process may connect or send to an internet address.
#
#   airgap/try.sh KIT       needs unshare (util-linux); the CPUs need qemu-x86_64 (Debian: qemu-user), else they are skipped
set -euo pipefail
kit=$(cd "$1" && pwd)
work=$(mktemp -d)
export kit work
trap 'code=$?; rm -rf "$work"; echo "airgap/try.sh: $SECONDS seconds, exit code $code"' EXIT

# A network namespace of its own has no route; a home of its own has no pip settings and no cache.
unshare --net --map-root-user env --ignore-environment PATH="$PATH" HOME="$work" kit="$kit" work="$work" \
    bash -euo pipefail -c '
    if [[ -n $(cut -f 1 /proc/net/route | tail -n +2) ]]; then echo "there is a route out" >&2; exit 1; fi
    mkdir "$work/traces" "$work/tree"
    watched() {
        if ! command -v strace > /dev/null; then "$@"; return; fi
        strace --follow-forks --quiet=all --trace=connect,sendto,sendmsg,sendmmsg \
            --output="$work/traces/$(basename "$1")-$(basename -- "$2")" -- "$@"
    }
    printf "%s\n" "def add(a, b): return a + b" "open a file and read its lines" > "$work/lines"
    printf "%s\n" "def read(path):" "    return open(path).readlines()" > "$work/tree/a.py"
    if command -v strace > /dev/null; then
        # An empty trace says something where the same tracer shows a connection.
        connects="import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect((\"127.0.0.1\", 9))"
        watched python3 -c "$connects" 2> /dev/null || true
        grep --quiet AF_INET "$work/traces/python3--c" || { echo "strace does not show a connection" >&2; exit 1; }
        rm "$work/traces/python3--c"
    fi
    watched "$kit/install.sh" "$work/here"
    command=$work/here/current/venv/bin/c2llm-lite bundle=$work/here/current/bundle
    watched "$command" verify "$bundle" > /dev/null
    watched "$command" embed "$bundle" "$work/lines" -o "$work/vectors.npy"
    if "$work/here/current/venv/bin/python" -c "import tree_sitter" 2> /dev/null; then
        watched "$command" search "$bundle" "$work/tree" "read the lines of a file"
    fi
'
if command -v strace > /dev/null; then
    if grep --recursive "AF_INET" "$work/traces"; then echo "a process connected or sent to an internet address" >&2; exit 1; fi
    echo "strace: no process of install, verify, embed and search connected or sent to an internet address"
else
    echo "SKIPPED: no strace here, so connections were not traced"
fi
emulator=$(command -v qemu-x86_64 || command -v qemu-x86_64-static || true)
if [[ -z $emulator ]]; then
    echo "SKIPPED: no qemu-x86_64 here, so no other CPU was tried"
    exit 0
fi
head -n 1 "$work/lines" > "$work/line"
embed=("$work/here/current/venv/bin/python" "$work/here/current/venv/bin/c2llm-lite" embed "$work/here/current/bundle" "$work/line" -o)
echo "on a Haswell of 2013, emulated"
"$emulator" -cpu Haswell "${embed[@]}" "$work/haswell.npy" 2> >(grep --invert-match "TCG doesn't support" >&2)
"$work/here/current/venv/bin/python" -c '
import sys, numpy
here, there = (numpy.load(path)[0] for path in sys.argv[1:])
cosine = float(here @ there)
print(f"the vector made there and the one made here: cosine {cosine:.6f}")
sys.exit(cosine < 0.999)
' "$work/vectors.npy" "$work/haswell.npy"
echo "on a Nehalem of 2008, emulated, which lacks AVX2"
if "$emulator" -cpu Nehalem "${embed[@]}" "$work/nehalem.npy" 2> "$work/error"; then
    echo "it should have been refused" >&2
    exit 1
fi
grep --invert-match "TCG doesn't support" "$work/error"
grep --quiet "needs a CPU with avx" "$work/error"
