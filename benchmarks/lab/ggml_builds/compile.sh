#!/usr/bin/env bash
# Builds llama.cpp's CPU library in several ways, each beside a copy of the installed llama-cpp-python, for builds.py.
#
#   benchmarks/lab/ggml_builds/compile.sh WORK
#
# WORK gets a folder for each build, to be put on PYTHONPATH, and keeps it. PYTHON: an interpreter with this package and
# llama-cpp-python. CLANG: a clang to try beside the system's compiler. Needs cmake; two minutes each.
set -euo pipefail
work=${1:?usage: compile.sh WORK}
mkdir -p "$work"
work=$(realpath "$work")
python=${PYTHON:-python3}
requirement=$(grep -o 'llama-cpp-python==[0-9.]*' pyproject.toml)
source=$work/source/llama_cpp_python-${requirement#*==}
installed=$("$python" -c 'import importlib.util as u; print(u.find_spec("llama_cpp").submodule_search_locations[0])')

if [ ! -d "$source" ]; then
    "$python" -m pip download --quiet --no-deps --no-binary llama-cpp-python --dest "$work/source" "$requirement"
    tar --directory "$work/source" --extract --file "$source.tar.gz"
fi
build() {
    local name=$1
    shift
    if [ -d "$work/$name" ]; then return; fi
    echo "compiling $name: $*"
    cmake -S "$source/vendor/llama.cpp" -B "$work/objects/$name" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON \
        -DLLAMA_BUILD_COMMON=OFF -DLLAMA_CURL=OFF -DGGML_LLAMAFILE=ON "$@" &> "$work/$name.log"
    cmake --build "$work/objects/$name" --target ggml-cpu --parallel &>> "$work/$name.log" || {
        tail "$work/$name.log" >&2
        exit 1
    }
    rm -rf "$work/$name.new"
    mkdir "$work/$name.new"
    cp -r "$installed" "$work/$name.new/llama_cpp"
    for file in "$work/$name.new"/llama_cpp/lib/libggml-cpu.so*; do
        cp "$work/objects/$name/bin/libggml-cpu.so" "$file"
    done
    mv "$work/$name.new" "$work/$name"
}
avx2=(-DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON)
build no-llamafile -DGGML_NATIVE=ON -DGGML_LLAMAFILE=OFF
build avx2 "${avx2[@]}"
build avx512-vnni "${avx2[@]}" -DGGML_AVX512=ON -DGGML_AVX512_VNNI=ON
if [ -n "${CLANG:-}" ]; then
    build clang -DGGML_NATIVE=ON -DCMAKE_C_COMPILER="$CLANG" -DCMAKE_CXX_COMPILER="${CLANG/clang/clang++}"
fi
