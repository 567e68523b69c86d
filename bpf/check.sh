#!/bin/sh
# Compiles the sources anew and compares with the checked-in objects: the instructions of every program, the maps and the
# relocations between them; not .BTF and .BTF.ext, where a comment's edit shows as other line numbers.
# Exits 1 where they differ. Needs what build.sh needs (clang-19), and llvm-objcopy-19 and llvm-readelf-19.
set -eu

cd "$(dirname "$0")"
objcopy=${LLVM_OBJCOPY:-llvm-objcopy-19}
readelf=${LLVM_READELF:-llvm-readelf-19}
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

./build.sh "$fresh"

# What is executed or shapes it: code, maps and constants, and the relocations between them.
sections() {
	"$readelf" --sections --wide "$1" | sed -n 's/^ *\[ *[0-9]*\] \([^ ]*\) .*/\1/p' |
		grep -E '^(tp_btf/|\.text|\.maps|\.rodata|\.data|license|\.rel)' | grep -v '^\.rel\.BTF' | sort
}

dump() {
	"$objcopy" --dump-section "$2=$3" "$1" /dev/null
}

failed=0
for object in "$fresh"/*.o obj/*.o; do
	name=$(basename "$object")
	if [ ! -f "obj/$name" ] || [ ! -f "$fresh/$name" ]; then
		echo "bpf/check.sh: $name has either no source or no checked-in object: run bpf/build.sh" >&2
		failed=1
	fi
done
for object in "$fresh"/*.o; do
	name=$(basename "$object")
	[ -f "obj/$name" ] || continue
	if [ "$(sections "$object")" != "$(sections "obj/$name")" ]; then
		echo "bpf/check.sh: obj/$name has other sections than its source: run bpf/build.sh" >&2
		failed=1
		continue
	fi
	for section in $(sections "$object"); do
		dump "$object" "$section" "$fresh/new"
		dump "obj/$name" "$section" "$fresh/old"
		if ! cmp -s "$fresh/new" "$fresh/old"; then
			echo "bpf/check.sh: obj/$name: section $section differs from its source: run bpf/build.sh with clang-19" >&2
			failed=1
		fi
	done
done
[ $failed -eq 0 ] && echo "bpf/check.sh: $(ls obj/*.o | wc -l) objects are what their sources say"
exit $failed
