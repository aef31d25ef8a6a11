#!/bin/sh
# Makes what is installed: dist.sh BUILD DIST. Rust's static library carries its whole runtime as
# global symbols; here it becomes one object that shows memhook's own names only, beside the
# entry points for dynamic and for static executables.
set -eu
build=$1 dist=$2
here=$(cd "$(dirname "$0")/../.." && pwd)
# May have options too: not in quotes, here and below.
CC=${CC:-cc}
# Of the compiler, which may be one for another machine.
for tool in nm ar ld objcopy; do
  eval "$tool=\$($CC -print-prog-name=$tool)"
done
work=$dist/work
rm -rf "$work"
mkdir -p "$work" "$dist/lib/memhook" "$dist/lib/pkgconfig" "$dist/include/memhook"

install -m 644 "$here/include/memhook.h" "$dist/include/memhook.h"
install -m 644 "$here/include/memhook/glibc.h" "$dist/include/memhook/glibc.h"
# A new file each time: a running process keeps the one that it has mapped.
install -m 755 "$build/libmemhook.so" "$dist/lib/libmemhook.so.0.new"
mv -f "$dist/lib/libmemhook.so.0.new" "$dist/lib/libmemhook.so.0"
ln -sf libmemhook.so.0 "$dist/lib/libmemhook.so"

# Beside it, what leads mmap and its like to it, for who asks for that.
$CC -shared -nostdlib -Wl,-soname,libmemhook-mmap.so -Wl,-z,now "$here/src/entry/mmap.S" "$dist/lib/libmemhook.so.0" \
  -Wl,-rpath,'$ORIGIN' -o "$dist/lib/libmemhook-mmap.so.new"
mv -f "$dist/lib/libmemhook-mmap.so.new" "$dist/lib/libmemhook-mmap.so"

# The library's own object is complete without Rust's runtime, as nothing in it can panic.
"$nm" -D --defined-only "$build/libmemhook.so" | awk '$3 ~ /^memhook_/ { print $3 }' > "$work/keep"
# And the names of glibc's functions that tools take over.
printf '%s\n' mcheck mcheck_pedantic mcheck_check_all mprobe mtrace muntrace >> "$work/keep"
echo memhook_current >> "$work/keep"
build=$(cd "$build" && pwd)
(cd "$work" && "$ar" t "$build/libmemhook.a" | grep '^memhook\.memhook\.' > members &&
  xargs "$ar" x "$build/libmemhook.a" < members && xargs "$ld" -r -o all.o < members)
"$objcopy" --keep-global-symbols="$work/keep" --strip-debug -R .llvmbc -R .llvmcmd "$work/all.o" "$work/own.o"
# It refers to malloc, so that the entry points come along into a program that does not do so itself.
$CC -c -x assembler - -o "$work/refers.o" <<'EOF'
	.section .rodata
	.reloc ., BFD_RELOC_NONE, malloc
	.byte 0
	.section .note.GNU-stack, "", %progbits
EOF
"$ld" -r -o "$work/memhook.o" "$work/own.o" "$work/refers.o"
if "$nm" -u "$work/memhook.o" | grep -E ' (_R|_ZN)'; then
  echo "dist: the library refers to Rust's runtime (above): something in it can panic or allocate" >&2
  exit 1
fi
# The linker names this file when malloc is defined twice: in a fully static program.
$CC -c "$here/src/entry/archive.S" -o "$work/dynamic-only--static-needs-memhook-static.opt.o"
$CC -c -DSTATIC "$here/src/entry/archive.S" -o "$work/static.o"
$CC -c "$here/src/entry/variables.S" -o "$work/variables.o"
rm -f "$work/libmemhook.a"
"$ar" crsD "$work/libmemhook.a" "$work/memhook.o" \
  "$work/dynamic-only--static-needs-memhook-static.opt.o" "$work/static.o" "$work/variables.o"
mv -f "$work/libmemhook.a" "$dist/lib/libmemhook.a"

# The C library refers to the wrapped functions after the archive was searched.
echo "-Wl,-u,__wrap_malloc" > "$dist/lib/memhook/memhook-static.opt"
wraps=" -Wl,-u,__wrap_malloc"
for name in $ENTRIES; do
  echo "-Wl,--wrap=$name" >> "$dist/lib/memhook/memhook-static.opt"
  wraps="$wraps -Wl,--wrap=$name"
done

version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/Cargo.toml" | head -n 1)
prefix=$(cd "$dist" && pwd)
for pc in memhook memhook-static; do
  case $pc in
    memhook) libs='-L${libdir} -lmemhook' what='' ;;
    *) libs="-static -L\${libdir}$wraps -l:libmemhook.a" what=' (fully static programs)' ;;
  esac
  cat > "$dist/lib/pkgconfig/$pc.pc" <<EOF
prefix=$prefix
libdir=\${prefix}/lib
includedir=\${prefix}/include

Name: $pc
Description: allocation hooks for C programs$what
Version: $version
Libs: $libs
Cflags: -I\${includedir}
EOF
done
rm -rf "$work"
