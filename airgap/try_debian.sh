#!/usr/bin/env bash
# Checks, installs and runs a signed kit as an unprivileged user of a Debian system made by debootstrap, without a route.
#
#   airgap/try_debian.sh RELEASE ROOT KIT PUB      such as bookworm build/bookworm build/kit signer.pub
#
# ROOT: the system's folder, made if it is not there (four minutes). Needs root, debootstrap and unshare. The release's
# Python must be the kit's: 3.11 on bookworm, 3.13 on trixie. strace shows that no process connects or sends to an internet
# address, and first that it would show one that does.
set -euo pipefail
release=$1 root=$2 kit=$3 public_key=$4
if [ ! -e "$root/usr/bin/strace" ]; then
    debootstrap --variant=minbase --include=python3,python3-venv,strace,openssl "$release" "$root"
fi
root=$(cd "$root" && pwd)
rm -rf "$root/kit" "$root/home/user"
cp -r "$kit" "$root/kit"
cp "$public_key" "$root/signer.pub"
mkdir -p "$root/home/user"
chown -R 1234:1234 "$root/home/user" "$root/kit"
trap 'code=$?; umount --quiet "$root/proc" "$root/dev"; echo "$release: $SECONDS seconds, exit code $code"' EXIT
mount --bind /proc "$root/proc"
mount --bind /dev "$root/dev"
SECONDS=0  # without the making of the root
unshare --net chroot --userspec=1234:1234 "$root" env --ignore-environment PATH=/usr/bin:/bin HOME=/home/user \
    bash -euo pipefail -c '
    echo "$(. /etc/os-release; echo "$PRETTY_NAME"), $(python3 --version), user $(id --user), routes: $(tail --lines=+2 /proc/net/route | wc --lines)"
    cd /kit
    openssl dgst -sha256 -verify ../signer.pub -signature SHA256SUMS.sig SHA256SUMS
    sha256sum --check --strict --quiet SHA256SUMS
    find . ! -type d ! -path ./SHA256SUMS ! -path ./SHA256SUMS.sig | LC_ALL=C sort | diff - <(cut -c 67- SHA256SUMS)
    cd
    mkdir traces tree
    printf "%s\n" "def read(path):" "    return open(path).readlines()" > tree/a.py
    watched() {
        strace --follow-forks --quiet=all --trace=connect,sendto,sendmsg,sendmmsg --output="traces/$1" -- "${@:2}"
    }
    connects="import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect((\"127.0.0.1\", 9))"
    watched control python3 -c "$connects" 2> /dev/null || true
    grep --quiet AF_INET traces/control || { echo "strace does not show a connection" >&2; exit 1; }
    rm traces/control
    watched install /kit/install.sh --public-key /signer.pub c2llm
    command=c2llm/current/venv/bin/c2llm-lite bundle=c2llm/current/bundle
    watched doctor "$command" doctor "$bundle"
    watched verify "$command" verify "$bundle" --public-key /signer.pub > /dev/null
    watched embed "$command" embed "$bundle" tree/a.py -o vectors.npy --public-key /signer.pub
    watched search "$command" search "$bundle" tree "read the lines of a file" --public-key /signer.pub
    if grep --recursive AF_INET traces; then echo "a process connected or sent to an internet address" >&2; exit 1; fi
    echo "no connection in the traces of" traces/*
    wc --lines traces/*
'
