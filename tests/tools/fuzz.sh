#!/bin/sh
# Reads changed traces for so many seconds: fuzz.sh SECONDS. With cargo-fuzz and a nightly compiler, where there are; what
# it finds of interest stays in target/fuzz/corpus. Else by the same target's test, on stable Rust.
set -eu
seconds=$1
cd "$(dirname "$0")/../../trace-format"
CARGO=${CARGO:-cargo}
nightly=$(rustup toolchain list 2>/dev/null | sed -n 's/^\(nightly[^ ]*\).*/\1/p' | head -n 1)
if [ -n "$nightly" ] && $CARGO fuzz --version >/dev/null 2>&1; then
  mkdir -p ../target/fuzz/corpus
  # The target has no unsafe code: no sanitizer is needed.
  exec rustup run "$nightly" cargo fuzz run --sanitizer none --target-dir ../target/fuzz read \
    ../target/fuzz/corpus fuzz/corpus/read -- -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=20
fi
echo "fuzz: no cargo-fuzz with a nightly toolchain (cargo install cargo-fuzz): by the test of stable Rust"
MEMHOOK_FUZZ_SECONDS=$seconds exec $CARGO test -p memhook-trace --test fuzz -- --nocapture
