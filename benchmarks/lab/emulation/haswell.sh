#!/usr/bin/env bash
# Runs bundles on an emulated Intel Haswell, an x86 CPU with AVX2 and without VNNI, and compares their vectors with this
# machine's, which should have VNNI. Then products that would overflow 16 bits (saturation.py), here and there.
#
#   benchmarks/lab/emulation/haswell.sh WORK FULL BUNDLE…      such as build/emulation build/f32 build/q8_0 build/int8
#
# WORK gets llama.cpp built for AVX2 and each run's result, and keeps them. FULL is a bundle at full precision (gguf:f32),
# which runs here alone. Writes benchmarks/results/emulation_haswell.json.
#
# Needs qemu-x86_64 10 or newer (Debian 13: qemu-user); QEMU names another. PYTHON: an interpreter with this package and its
# engines. Half an hour.
set -euo pipefail
mkdir -p "$1/haswell"
work=$(realpath "$1") full=$2
shift 2
python=${PYTHON:-python3} qemu=${QEMU:-$(command -v qemu-x86_64)}
module=c2llm_lite.benchmarks.lab.emulation
out=$work/haswell

requirement=$(grep -o 'llama-cpp-python==[0-9.]*' pyproject.toml)
if [ ! -e "$work/avx2" ]; then
    PYTHON=$python airgap/compile.sh "$requirement" x86_64 "$work/built"
    "$python" -m zipfile --extract "$work"/built/llama_cpp_python-*-linux_x86_64.whl "$work/avx2"
fi
here() {
    if [ ! -e "$out/$2.here.json" ]; then "$python" -m "$module.vectors" "$1" "$out/$2.here.json"; fi
}
emulated() {
    PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$work/avx2 "$qemu" -cpu Haswell "$@" 2> >(grep --invert-match "TCG doesn't support" >&2)
}
here "$full" full
for bundle in "$@"; do
    name=$(basename "$bundle")
    here "$bundle" "$name"
    if [ ! -e "$out/$name.haswell.json" ]; then
        emulated "$python" -m "$module.vectors" "$bundle" "$out/$name.haswell.json" || echo "FAILED: $name" >&2
    fi
done
"$python" -m "$module.saturation" > "$work/saturation.here.json"
emulated "$python" -m "$module.saturation" > "$work/saturation.haswell.json"
"$python" -m "$module.compare" "$out" benchmarks/results/emulation_haswell.json "$("$qemu" --version | head -n 1)" \
    here="$work/saturation.here.json" haswell="$work/saturation.haswell.json"
