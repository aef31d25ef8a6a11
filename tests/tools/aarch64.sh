#!/bin/sh
# Runs for AArch64, on another machine, what of the tests can be run so: cross-compiled, under qemu's emulation of a
# process. Arguments are names of tests to run, all else. The emulation does not show weak memory ordering.
set -eu
cd "$(dirname "$0")/../.."
rust=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu emulator=qemu-aarch64-static
CARGO=${CARGO:-cargo} MAKE=${MAKE:-make}
mkdir -p "target/$rust"

need=
have() { command -v "$1" >/dev/null 2>&1; }
have $gnu-gcc || need="$need gcc-$gnu"
have $gnu-g++ || need="$need g++-$gnu"
have $emulator || need="$need qemu-user-static"
if [ -n "$need" ] && have apt-get && [ "$(id -u)" = 0 ]; then
  apt-get update > "target/$rust/setup.log" 2>&1 || true
  # The list is of words.
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $need >> "target/$rust/setup.log" 2>&1 || true
fi
for tool in $gnu-gcc $gnu-g++ $emulator; do
  have "$tool" || { echo "test-aarch64: $tool is missing; Debian has it in:$need" >&2; exit 1; }
done
libraries=$(cd "$($gnu-gcc -print-file-name=libc.so.6 | xargs dirname)/.." && pwd)
[ -e "$libraries/lib/ld-linux-aarch64.so.1" ] ||
  { echo "test-aarch64: the C library for AArch64 is missing; Debian has it in: libc6-dev-arm64-cross" >&2; exit 1; }
installed() { [ -d "$(rustc --print sysroot)/lib/rustlib/$rust/lib" ]; }
installed || { have rustup && rustup target add $rust; } || true
installed || { echo "test-aarch64: Rust's own library for $rust is missing: rustup target add $rust" >&2; exit 1; }

$MAKE dist TARGET=$rust CC=$gnu-gcc
cc -O1 -Wall -Wextra -Werror -static -D_GNU_SOURCE -DEMULATOR="\"$(command -v $emulator)\"" -DLIBRARIES="\"$libraries\"" \
  tests/tools/emulate.c -o "target/$rust/emulate"

# What does not work so, and why.
set -- --exact "$@"
while read -r name why; do
  case $name in '' | '#') continue ;; esac
  echo "skipped: $name: $why"
  set -- "$@" --skip "$name"
done < tests/tools/aarch64.skipped

tests=
for test in rules events linking errors examples glibc migrating tools tool_usage tool_check tool_trace; do
  tests="$tests --test $test"
done
# The list is of words.
# shellcheck disable=SC2086
MEMHOOK_TARGET=$rust $CARGO test -p memhook-tests $tests --no-fail-fast -- "$@"
