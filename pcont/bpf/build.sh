#!/bin/sh
# Makes the objects of the programs: build.sh [FOLDER]. Debian: clang-14, llvm-14, libbpf-dev.
# The same compiler makes the same bytes wherever the sources are: tests/bpf/test_bpf.py compares.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
into=${1:-$here}
mkdir -p "$into"
into=$(cd "$into" && pwd)
cd "$here"
for source in *.bpf.c; do
    object=$into/${source%.c}.o
    clang-14 -target bpfel -mcpu=v3 -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter \
        -fdebug-compilation-dir=. -isystem "/usr/include/$(uname -m)-linux-gnu" \
        -c "$source" -o "$object"
    llvm-strip-14 --strip-debug "$object"
done
