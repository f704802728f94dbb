#!/usr/bin/env bash
# Builds the source distribution and, from it alone, the wheel; installs both in clean environments and uses them there: the wheel
# on a path on which there is no compiler. Takes about a minute and needs the network, as pip does.
#   bash tests/wheel.sh [FOLDER]      where the distributions are put; dist/ without it
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
mkdir -p "${1:-dist}"
dist=$(realpath "${1:-dist}")
: "${PYTHON:=python3}"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
pip=(-m pip --quiet --disable-pip-version-check)

"$PYTHON" -m venv "$scratch/builder"
"$scratch/builder/bin/python" "${pip[@]}" install "build>=1.2"
rm -f "$dist"/edgecomp-*
# Without --sdist and --wheel the wheel is built from the source distribution.
"$scratch/builder/bin/python" -m build --outdir "$dist" . > "$scratch/build.log" 2>&1 || { tail -50 "$scratch/build.log" >&2; exit 1; }
wheel=$(ls "$dist"/edgecomp-*.whl)
sdist=$(ls "$dist"/edgecomp-*.tar.gz)
case $wheel in *-cp311-abi3-*) ;; *) echo "$wheel is not for every Python from 3.11 on" >&2; exit 1 ;; esac
ls -l "$wheel" "$sdist"

for what in wheel sdist; do
    "$PYTHON" -m venv "$scratch/$what"
    bin=$scratch/$what/bin
    if [ "$what" = wheel ]; then
        # Only what the environment itself has: no compiler, nor anything else.
        path=$bin from=$wheel
    else
        path=$bin:$PATH from=$sdist
    fi
    if [ "$what" = wheel ] && PATH=$path command -v cc gcc clang; then exit 1; fi
    PATH=$path "$bin/python" "${pip[@]}" install "$from"
    (cd "$scratch" && PATH=$path "$bin/python" "$root/tests/installed.py" "$root/examples/photos") > "$scratch/$what.log"
    echo "== from the $what"
    cat "$scratch/$what.log"
done
diff <(grep pixels "$scratch/wheel.log") <(grep pixels "$scratch/sdist.log")
