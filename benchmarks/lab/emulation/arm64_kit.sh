#!/usr/bin/env bash
# Installs a kit for aarch64 on an emulated processor, in arm64.sh's root and without a route, and embeds a text with it.
#
#   benchmarks/lab/emulation/arm64_kit.sh WORK KIT PROCESSOR       such as build/emulation build/kit cortex-a72
#
# KIT: of `make airgap ARCH=aarch64 PYTHON_VERSION=3.13`. PROCESSOR: qemu-aarch64's name, such as max or cortex-a72.
set -euo pipefail
root=$(realpath "$1")/root kit=$2 processor=$3
rm -rf "$root/kit" "$root/home/user"
cp -r "$kit" "$root/kit"
mkdir -p "$root/home/user"
trap 'code=$?; umount "$root/proc" "$root/dev"; echo "$processor: $SECONDS seconds, exit code $code"' EXIT
mount --bind /proc "$root/proc"
mount --bind /dev "$root/dev"
unshare --net chroot "$root" env --ignore-environment PATH=/usr/bin:/bin HOME=/home/user "QEMU_CPU=$processor" \
    bash -euo pipefail -c '
    echo "$(. /etc/os-release; echo "$PRETTY_NAME"), $(uname --machine), $(python3 --version)"
    cd
    /kit/install.sh c2llm
    floor=$(cat c2llm/current/venv/lib/python3*/site-packages/llama_cpp/lib/cpu_floor.json)
    echo "llama.cpp built for the instructions $floor"
    echo "def add(a, b): return a + b" | c2llm/current/venv/bin/c2llm-lite embed c2llm/current/bundle - -o vectors.npy
    c2llm/current/venv/bin/python -c "import numpy; print(numpy.load(\"vectors.npy\").shape)"
'
