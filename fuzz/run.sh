#!/usr/bin/env bash
# Fuzzes every target, or those named, and says what it found. Exit code 1 on a finding.
#
#   fuzz/run.sh [SECONDS [TARGET...]]       # default: 15 seconds each, all targets
#
# Needs cargo-fuzz (.ci/setup installs it) and a C++ compiler. The stable toolchain does: coverage instrumentation is a stable flag, only
# sanitizers are not, and what they would find is unsafe code, of which the crates under test have none (`forbid` or `deny(unsafe_code)`).
# Overflow checks and debug assertions are on (Cargo.toml); memory is asserted by a counting allocator (src/memory.rs).
#
# Starts from corpus/ and regressions/, which are only read; what is new goes to target/fuzz/corpus, a reproducer to fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-15}
shift || true
targets=("$@")
if [ "${#targets[@]}" -eq 0 ]; then
    mapfile -t targets < <(basename -s .rs fuzz/fuzz_targets/*.rs)
fi

# The versions under test are those that are shipped: one lock for both workspaces.
cp Cargo.lock fuzz/Cargo.lock
host=$(rustc -vV | sed -n 's/^host: //p')
cargo fuzz build --sanitizer none --codegen-units 16 --target "$host" --target-dir target/fuzz

found=0
printf '%-14s %10s %8s %7s %7s %6s  %s\n' target runs runs/s edges inputs MiB finding
for target in "${targets[@]}"; do
    work=target/fuzz/corpus/$target
    artifacts=fuzz/artifacts/$target
    log=target/fuzz/$target.log
    mkdir -p "$work" "$artifacts" "fuzz/corpus/$target" "fuzz/regressions/$target"
    status=0
    "target/fuzz/$host/release/$target" "$work" "fuzz/corpus/$target" "fuzz/regressions/$target" \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=16384 -print_final_stats=1 -artifact_prefix="$artifacts/" \
        >"$log" 2>&1 || status=$?
    stat() { sed -n "s/^stat::$1: *//p" "$log" | tail -1; }
    edges=$(sed -n 's/^#.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
    inputs=$(sed -n 's/^#.* corp: \([0-9]*\).*/\1/p' "$log" | tail -1)
    finding=none
    if [ "$status" -ne 0 ]; then
        found=1
        finding=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
        finding="${finding:-no input was written (exit $status)}"
    fi
    printf '%-14s %10s %8s %7s %7s %6s  %s\n' "$target" "$(stat number_of_executed_units)" "$(stat average_exec_per_sec)" \
        "${edges:-?}" "${inputs:-?}" "$(stat peak_rss_mb)" "$finding"
    if [ "$status" -ne 0 ]; then
        grep -m1 -A6 'panicked at' "$log" >&2 || tail -5 "$log" >&2
        echo "again: target/fuzz/$host/release/$target $finding; then put the input into fuzz/regressions/$target/" >&2
    fi
done
exit "$found"
