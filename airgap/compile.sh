#!/usr/bin/env bash
# Compiles llama-cpp-python for collect.sh, for a stated floor of CPUs: the package that pip builds by itself would use
# every instruction of this machine's CPU, and die on an older one.
#
#   airgap/compile.sh REQUIREMENT ARCH BUILT       such as llama-cpp-python==0.3.36 aarch64 build/airgap
#
# BUILT gets a wheel for the floor, and a folder, named after an instruction, one for CPUs that have it: up to twice as
# fast there, and with a build number, which pip prefers. x86_64: any CPU with AVX2 (x86-64-v3: Intel Haswell of 2013, AMD
# Excavator of 2015), and avx512_vnni (Intel Cascade Lake of 2019, AMD Zen 4 of 2022). aarch64: armv8-a (Raspberry Pi 4),
# and asimddp, armv8.2-a with int8 dot products (Raspberry Pi 5, Jetson Orin, Graviton 2). Neither of these uses SVE: on
# SVE hardware llama.cpp gives wrong states for Qwen2 (its issue 21548, open), and an emulator that gives right ones does
# not clear it.
#
# For another architecture than this machine's it needs a cross compiler; Debian: crossbuild-essential-arm64.
set -euo pipefail
requirement=$1 arch=$2 built=$3
python=${PYTHON:-python3}
wheel=llama_cpp_python-${requirement#*==}
if compgen -G "$built/$wheel-*linux_$arch.whl" > /dev/null; then exit 0; fi
case $arch in x86_64 | aarch64) ;; *)
    echo "llama-cpp-python is compiled for x86_64 and aarch64 alone: leave llama-cpp out of EXTRAS" >&2
    exit 1
    ;;
esac
target=(-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF) gcc=gcc
if [ "$arch" != "$(uname -m)" ]; then
    gcc=$arch-linux-gnu-gcc
    export CC=$gcc CXX=$arch-linux-gnu-g++
    target+=(-DCMAKE_SYSTEM_NAME=Linux "-DCMAKE_SYSTEM_PROCESSOR=$arch")
    if ! command -v "$CXX" > /dev/null; then
        echo "no $CXX here: install a cross compiler (Debian: crossbuild-essential-arm64), or make this kit on $arch" >&2
        exit 1
    fi
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$python" -m pip download --quiet --no-deps --no-binary llama-cpp-python --dest "$scratch" "$requirement"
tar --directory "$scratch" --extract --file "$scratch/$wheel.tar.gz"

# compile FOLDER FLOOR BUILD_NUMBER CMAKE_ARGUMENT …; FLOOR: what engines/llama_cpp/native.py reads, a JSON list. A second
# one compiles again only what its arguments change.
compile() {
    local work=$scratch/$3 target=("${target[@]}" "${@:4}") folder license
    echo "compiling $requirement for $arch, ${*:4}"
    CMAKE_ARGS="${target[*]}" "$python" -m pip wheel --quiet --no-deps --config-settings "build-dir=$scratch/build" \
        --wheel-dir "$work/wheel" "$scratch/$wheel"
    "$python" -m wheel tags --remove --platform-tag "linux_$arch" --build "$3" "$work"/wheel/*.whl > /dev/null
    "$python" -m wheel unpack --dest "$work" "$work"/wheel/*.whl
    folder=$work/$wheel
    echo "$2" > "$folder/llama_cpp/lib/cpu_floor.json"
    # A minimal Debian has no libgomp, which llama.cpp loads. Its libraries look for it beside themselves first.
    cp "$("$gcc" -print-file-name=libgomp.so.1)" "$folder/llama_cpp/lib/"
    for license in /usr/share/doc/libgomp1/copyright /usr/share/licenses/libgomp/COPYING.RUNTIME; do
        if [ -e "$license" ]; then cp "$license" "$(echo "$folder"/*.dist-info/licenses)/COPYRIGHT.libgomp"; fi
    done
    mkdir -p "$1"
    "$python" -m wheel pack --dest-dir "$1" "$folder"
}

# The one in BUILT last: it says that both are there.
if [ "$arch" = x86_64 ]; then
    avx2=(-DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON)
    compile "$built/avx512_vnni" '["avx", "avx2", "fma", "f16c", "bmi2", "avx512f", "avx512_vnni"]' 2 \
        "${avx2[@]}" -DGGML_AVX512=ON -DGGML_AVX512_VNNI=ON
    compile "$built" '["avx", "avx2", "fma", "f16c", "bmi2"]' 1 "${avx2[@]}" -DGGML_AVX512=OFF -DGGML_AVX512_VNNI=OFF
else
    compile "$built/asimddp" '["asimddp"]' 2 -DGGML_CPU_ARM_ARCH=armv8.2-a+dotprod
    compile "$built" '[]' 1 -DGGML_CPU_ARM_ARCH=armv8-a
fi
