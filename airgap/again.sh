#!/usr/bin/env bash
# Makes a kit again and compares every byte: from a clone of this commit at another place, with another umask.
#
#   airgap/again.sh KIT BUNDLE EXTRAS [REQUIREMENT …]      with the same settings as collect.sh was given
set -euo pipefail
kit=$(realpath "$1") bundle=$(realpath "$2")
shift 2
work=$(mktemp -d)
trap 'code=$?; rm -rf "$work"; echo "airgap/again.sh: $SECONDS seconds, exit code $code"' EXIT
git clone --quiet . "$work/clone"
mkdir -p "$work/clone/build"
cp -r build/airgap "$work/clone/build/"  # what was compiled
if [ -n "${SIGN_KEY:-}" ]; then SIGN_KEY=$(realpath "$SIGN_KEY"); fi
(cd "$work/clone" && umask 077 && LOCK="$kit/requirements.txt" airgap/collect.sh "$work/again" "$bundle" "$@")
diff --recursive "$kit" "$work/again"
echo "the same bytes in each of $(find "$kit" -type f | wc -l) files"
