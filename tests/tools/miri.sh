#!/bin/sh
# Runs what Miri can run: the library's own text (tests/miri), and the reader of traces.
# usage: miri.sh SEEDS [optional]; with `optional`, for make test, it is no failure that there is no Miri, and what takes
# long or has no unsafe code is left out.
set -eu
seeds=$1
here=$(cd "$(dirname "$0")/../.." && pwd)

toolchain=
for name in ${MIRI_TOOLCHAIN:-$(rustup toolchain list 2>/dev/null | sed -n 's/^\(nightly[^ ]*\).*/\1/p')}; do
  if rustup run "$name" cargo miri --version >/dev/null 2>&1; then
    toolchain=$name
    break
  fi
done
if [ -z "$toolchain" ]; then
  echo "miri: skipped: no nightly toolchain with Miri (rustup toolchain install nightly --component miri,rust-src)"
  [ "${2-}" = optional ]
  exit
fi

export CARGO_TARGET_DIR="$here/target/miri"
run() {
  MIRIFLAGS=$1
  export MIRIFLAGS
  shift
  rustup run "$toolchain" cargo miri test --locked "$@"
}

cd "$here/tests/miri"
echo "miri: the library, each of its blocks a block of Miri's"
if [ "${2-}" = optional ]; then
  run "-Zmiri-strict-provenance -Zmiri-seed=0" -q -- --skip usage --skip random --skip sixty_six
  exit
fi
run "-Zmiri-strict-provenance -Zmiri-seed=0" -q
echo "miri: the reader of traces"
cd "$here"
run -Zmiri-strict-provenance -q -p memhook-trace
cd tests/miri
echo "miri: the library on its own scratch memory"
run "-Zmiri-permissive-provenance -Zmiri-seed=0" -q --features scratch -- \
  two_writers interceptors_come observers_come owner_lists texts
if [ "$seeds" -gt 1 ]; then
  echo "miri: threads, with $seeds seeds"
  run "-Zmiri-strict-provenance -Zmiri-many-seeds=1..$seeds" -q threads
  run "-Zmiri-permissive-provenance -Zmiri-many-seeds=1..$seeds" -q --features scratch two_writers
fi
