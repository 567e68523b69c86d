#!/bin/sh
# Compiles bpf/src/*.bpf.c into bpf/obj/ (or the folder given), so that `cargo build` needs no clang.
# Needs clang-19 and llvm-strip-19 (another major version makes other instructions), libbpf-dev and linux-libc-dev.
set -eu

cd "$(dirname "$0")"
out=${1:-obj}
clang=${CLANG:-clang-19}
strip=${LLVM_STRIP:-llvm-strip-19}

command -v "$clang" >/dev/null || {
	echo "bpf/build.sh: $clang not found: install clang-19 and llvm-19, or set CLANG and LLVM_STRIP" >&2
	exit 1
}
"$clang" --version | grep -q 'version 19\.' || {
	echo "bpf/build.sh: $clang is not clang 19, which the checked-in objects are made with" >&2
	exit 1
}

mkdir -p "$out"
include=/usr/include/$(uname -m)-linux-gnu
for source in src/*.bpf.c; do
	object=$out/$(basename "$source" .c).o
	# No -D__TARGET_ARCH: tp_btf arguments are the same on every architecture, so are the objects (little endian).
	"$clang" -g -O2 -Wall -Wextra -Werror -Wno-unused-parameter -target bpfel -mcpu=v3 \
		-I"$include" -c "$source" -o "$object"
	"$strip" -g "$object"
done
