#!/bin/sh
# Installs what the tests need beyond Rust, gcc and make, or says what is missing.
set -u
need=
have() { command -v "$1" >/dev/null 2>&1; }
have g++ || need="$need g++"
have python3 || need="$need python3"
{ have python3 && python3 -c 'import test.test_dict' 2>/dev/null; } || need="$need libpython3-testsuite"
have perl || need="$need perl"
have git || need="$need git"
have sqlite3 || need="$need sqlite3"
have node || need="$need nodejs"
have pkg-config || need="$need pkg-config"
have mtrace || need="$need libc-devtools"
have valgrind || need="$need valgrind"
[ -e /usr/lib/x86_64-linux-gnu/libjemalloc.so.2 ] || [ -e /usr/lib/aarch64-linux-gnu/libjemalloc.so.2 ] ||
  need="$need libjemalloc2"
[ -z "$need" ] && exit 0
if have apt-get && [ "$(id -u)" = 0 ]; then
  # shellcheck disable=SC2086 # a list of packages
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $need; } \
    > target/setup.log 2>&1 && exit 0
  echo "setup: apt-get could not install:$need (see target/setup.log); tests that need them are skipped by name" >&2
  exit 0
fi
echo "setup: please install:$need; tests that need them are skipped by name" >&2
exit 0
