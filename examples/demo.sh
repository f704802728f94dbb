#!/usr/bin/env bash
# Sets edgecomp up in .venv, compresses the example pictures, restores them, and shows what came of it.
#   bash examples/demo.sh [FOLDER]      a folder of your own pictures instead of examples/photos
set -euo pipefail
folder=$(realpath "${1:-$(dirname "$0")/photos}")
cd "$(dirname "$0")/.."
. examples/setup.sh .
mkdir -p build/demo
edgecomp=.venv/bin/edgecomp
set -x
"$edgecomp" compress "$folder" -o build/demo/photos.ecz --quality B --force
"$edgecomp" list build/demo/photos.ecz
"$edgecomp" decompress build/demo/photos.ecz -o build/demo/restored --force
