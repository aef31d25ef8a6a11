#!/bin/sh
# Installs what the tests need beyond Rust, gcc and make, or says what is missing.
set -u
need=
have() { command -v "$1" >/dev/null 2>&1; }
have g++ || need="$need g++"
have python3 || need="$need python3"
# Some builds of Python leave modules out.
has_tests() { "$1" -c 'import test.test_dict, test.test_multiprocessing_fork' 2>/dev/null; }
has_tests python3 || has_tests /usr/bin/python3 || need="$need libpython3-testsuite"
have perl || need="$need perl"
have git || need="$need git"
have sqlite3 || need="$need sqlite3"
have node || need="$need nodejs"
have pkg-config || need="$need pkg-config"
{ have memusagestat && have mtrace; } || need="$need libc-devtools"
have valgrind || need="$need valgrind"
[ -e /usr/lib/x86_64-linux-gnu/libjemalloc.so.2 ] || [ -e /usr/lib/aarch64-linux-gnu/libjemalloc.so.2 ] ||
  need="$need libjemalloc2"
[ -z "$need" ] && exit 0
# The name of Python's test suite has the version of Python in it, or has not, as the distribution likes.
called_here() {
  if [ "$1" = libpython3-testsuite ] && ! apt-cache show "$1" >/dev/null 2>&1; then
    apt-cache pkgnames libpython3. | grep -e '-testsuite$' | sort -V | tail -n 1
  else
    echo "$1"
  fi
}
install() {
  echo "== $1"
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$1"
}
if have apt-get && [ "$(id -u)" = 0 ]; then
  missing=
  mkdir -p target
  apt-get update > target/setup.log 2>&1
  # One by one: a package that is not to be had does not keep the others away.
  for package in $need; do
    name=$(called_here "$package")
    install "${name:-$package}" >> target/setup.log 2>&1 || missing="$missing $package"
  done
  [ -z "$missing" ] ||
    echo "setup: apt-get could not install:$missing (see target/setup.log); tests that need them are skipped by name" >&2
  exit 0
fi
echo "setup: please install:$need; tests that need them are skipped by name" >&2
exit 0
