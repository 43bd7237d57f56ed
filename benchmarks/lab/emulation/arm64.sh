#!/usr/bin/env bash
# Runs bundles on emulated 64-bit ARM processors, in a Debian 13 root, and compares their vectors with this machine's.
#
#   benchmarks/lab/emulation/arm64.sh WORK FULL BUNDLE…      such as build/emulation build/f32 build/q8_0 build/int8
#
# WORK gets the root, the libraries and each run's result, and keeps them: what is there is not made again. FULL is a
# bundle at full precision (gguf:f32), which runs here alone. Writes benchmarks/results/emulation_arm64.json.
#
# Needs root (chroot, binfmt_misc), debootstrap, crossbuild-essential-arm64, and qemu-aarch64 10 or newer, statically
# linked (Debian 13: qemu-user); QEMU names another. PYTHON: an interpreter with this package's engines and pip. Emulation
# runs at a hundredth of the speed: 5 to 30 minutes a bundle and processor, one on each core. PROCESSORS chooses among max,
# no-sve and cortex-a72.
set -euo pipefail
mkdir -p "$1"
work=$(realpath "$1") full=$2
shift 2
python=${PYTHON:-python3} qemu=${QEMU:-$(command -v qemu-aarch64)}
# Without SME: with it, NumPy 2.5.5's OpenBLAS computes wrong products here, and load() refuses it. Without SVE, load()
# refuses OpenVINO bundles: these runs fail in one line.
declare -A features=([max]=max,sve=on,sme=off [no-sve]=max,sve=off [cortex-a72]=cortex-a72)
module=c2llm_lite.benchmarks.lab.emulation

# The kernel opens the interpreter now (F), so that it need not be in the root.
if [ ! -e /proc/sys/fs/binfmt_misc/status ]; then mount -t binfmt_misc none /proc/sys/fs/binfmt_misc; fi
if [ ! -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ]; then
    aarch64='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    echo ":qemu-aarch64:M::$aarch64:$mask:$qemu:F" > /proc/sys/fs/binfmt_misc/register
fi
root=$work/root
if [ ! -e "$root/usr/bin/python3" ]; then
    debootstrap --arch=arm64 --variant=minbase --include=python3,python3-venv trixie "$root"
fi

# Installed here, since pip is slow there.
site=$root/opt/site
if [ ! -e "$site" ]; then
    platforms=(--platform=manylinux2014_aarch64)
    for minor in 17 27 28 31 34 35; do platforms+=("--platform=manylinux_2_${minor}_aarch64"); done
    "$python" -m pip install --quiet --target "$site" --only-binary :all: --implementation cp --python-version 3.13 \
        "${platforms[@]}" numpy tokenizers safetensors threadpoolctl typer rich openvino typing-extensions diskcache jinja2
fi
requirement=$(grep -o 'llama-cpp-python==[0-9.]*' pyproject.toml)
PYTHON=$python airgap/compile.sh "$requirement" aarch64 "$work/built"
for build in armv8-a:"$work/built" dotprod:"$work/built/asimddp"; do
    target=$root/opt/${build%%:*}
    if [ ! -e "$target" ]; then "$python" -m zipfile --extract "${build#*:}"/llama_cpp_python-*.whl "$target"; fi
done
rm -rf "$root/opt/own"
mkdir -p "$root/opt/own"
cp -r c2llm_lite "$root/opt/own/"
cp -r convert benchmarks "$root/opt/own/c2llm_lite/"

mkdir -p "$root/bundles" "$root/out" "$work/out"
here() {
    if [ ! -e "$work/out/$2.here.json" ]; then "$python" -m "$module.vectors" "$1" "$work/out/$2.here.json"; fi
}
there() { # there CORE PROCESSOR FEATURES LLAMA_BUILD BUNDLE_NAME
    local out=$5.$2.json
    if [ -e "$work/out/$out" ]; then return; fi
    echo "$2, $3: $5"
    if taskset --cpu-list "$1" chroot "$root" env --ignore-environment PATH=/usr/bin:/bin HOME=/tmp "QEMU_CPU=$3" \
        "PYTHONPATH=/opt/own:/opt/site:/opt/$4" python3 -m "$module.vectors" "/bundles/$5" "/out/$out"; then
        mv "$root/out/$out" "$work/out/"
    else
        echo "FAILED: $5 on $2" >&2
    fi
}
export -f there
export work root module
trap 'umount "$root/proc" "$root/dev" "$root/sys"' EXIT
mount --bind /proc "$root/proc"
mount --bind /dev "$root/dev"
mount --bind /sys "$root/sys"  # OpenVINO reads the CPU's topology there, and crashes without
here "$full" full
jobs=()
for bundle in "$@"; do
    name=$(basename "$bundle")
    here "$bundle" "$name"
    if [ ! -e "$root/bundles/$name" ]; then cp -rL "$bundle" "$root/bundles/$name"; fi
    for processor in ${PROCESSORS:-max no-sve cortex-a72}; do
        case $(ls "$bundle"):$processor in
            *backbone.gguf*:cortex-a72) build=armv8-a ;;
            *backbone.gguf*) build=dotprod ;;
            *) build=none ;;
        esac
        jobs+=("$processor" "${features[$processor]}" "$build" "$name")
    done
done
cores=$(nproc)
printf '%s\0' "${jobs[@]}" | xargs --null --max-args=4 --max-procs="$cores" --process-slot-var=slot \
    bash -c 'there "$slot" "$@"' there
"$python" -m "$module.compare" "$work/out" benchmarks/results/emulation_arm64.json "$("$qemu" --version | head -n 1)"
