#!/bin/sh
# The main job, seen: demo.sh DIST, where DIST is what `make` has built.
#
# 1. A C program keeps account of its own memory with hooks.
# 2. Programs that know nothing of memhook are counted at their work.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
dist=$(cd "$1" && pwd)
out=$here/../target/demo
rm -rf "$out"
mkdir -p "$out"
out=$(cd "$out" && pwd)
CC=${CC:-cc}

build() { # build SOURCE OUTPUT OPTION...
  source=$1 output=$2
  shift 2
  "$CC" -std=gnu11 -O2 -Wall -Wextra -Wpedantic -I "$dist/include" "$here/$source" -o "$out/$output" \
    "$@" -pthread -L "$dist/lib" -lmemhook "-Wl,-rpath,$dist/lib"
}

title() {
  printf '\n%s\n' "$1"
  printf '%s\n\n' "$1" | sed 's/./=/g'
}

counted() { # counted COMMAND...: runs it with the call counter, its table into $out/table
  LD_PRELOAD="$dist/lib/libmemhook.so.0 $out/callcount.so" CALLCOUNT_FILE="$out/table" "$@"
}

real_python() { # The program itself, where python3 is a script that starts it.
  python3 -c 'import sys; print(sys.executable)' 2>/dev/null || true
}

build accounting.c accounting
build callcount.c callcount.so -shared -fPIC

title "A program that counts its own bytes: examples-c/accounting.c"
"$out/accounting"

python=$(real_python)
git=$(command -v git || true)
if [ -z "$python$git" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo
  echo "Neither python3 nor git is here: installing python3."
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3; } \
    > "$out/apt.log" 2>&1 || { cat "$out/apt.log" >&2; }
  python=$(real_python)
fi
if [ -z "$python$git" ]; then
  echo "demo: there is no python3 and no git here to count the calls of; install one of them." >&2
  exit 1
fi

if [ -n "$python" ]; then
  title "A real program, counted by examples-c/callcount.c: python3 at JSON and regular expressions"
  cat > "$out/work.py" <<'PYTHON'
import json, re, threading

people = [{"name": f"person {n}", "tags": ["a", "b", str(n)]} for n in range(5000)]
found = []

def work():
    text = json.dumps(json.loads(json.dumps(people)))
    found.append(len(re.findall(r'"person (\d*7)"', text)))

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("4 threads found", sum(found), "people with a 7 at the end")
PYTHON
  # Python's own pools for small objects would keep most calls from malloc.
  PYTHONMALLOC=malloc counted "$python" "$out/work.py"
  echo
  cat "$out/table"
  rm "$out/table"
fi

if [ -n "$git" ]; then
  title "Another one: git log --stat"
  repository=$out/repository
  mkdir "$repository"
  HOME=$out GIT_CONFIG_NOSYSTEM=1
  export HOME GIT_CONFIG_NOSYSTEM
  "$git" init -q "$repository"
  for number in 1 2 3 4 5 6 7 8 9 10; do
    seq "$number" "$((number * 100))" > "$repository/numbers"
    "$git" -C "$repository" add numbers
    "$git" -C "$repository" -c user.name=memhook -c user.email=memhook@example.org commit -q -m "Numbers $number"
  done
  counted "$git" -C "$repository" --no-pager log --stat > "$out/log"
  echo "$(grep -c '^commit' "$out/log") commits shown"
  echo
  cat "$out/table"
fi
