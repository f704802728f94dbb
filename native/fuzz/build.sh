#!/usr/bin/env bash
# Builds the fuzzing targets with the address and undefined-behaviour sanitizers, each a program FOLDER/TARGET.
#   bash native/fuzz/build.sh FOLDER             with libFuzzer; CC is a clang (default: clang)
#   bash native/fuzz/build.sh FOLDER driver      with driver.c, for compilers without libFuzzer; CC default: gcc
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/../.."
checks=address,undefined
extra=()
if [ "${2:-libfuzzer}" = driver ]; then
    compiler=${CC:-gcc}
    extra=(native/fuzz/driver.c)
else
    compiler=${CC:-clang}
    checks=fuzzer,$checks
fi
for target in decode prepare unpack; do
    "$compiler" -std=c11 -Wall -Wextra -O1 -g "-fsanitize=$checks" -fno-sanitize-recover=all -Inative -Itests/native \
        "native/fuzz/$target.c" "${extra[@]}" native/*.c -o "$folder/$target"
done
