# make          build into target/dist: what `make install` installs
# make demo     the main job, seen
# make test     every test
# make bench    what an allocation call costs, beside the peers; WHOLE=1: and whole programs;
#               SCALING=1: what grows with threads, hooks and blocks
# make model    what the memory orderings promise, under loom; a part of make test
# make model-mutations  that each weakened ordering breaks a promise; a part of make test
# make miri     undefined behaviour in what Miri can run, if a nightly toolchain has it; most of it a part of make test; SEEDS=N
# make fuzz     random programs over the C interface, against the model of tests/properties.rs; RUNS=N; and the reader of
#               traces on changed ones, for an hour; SECONDS=N
# make attack   what nobody should do to the library, for ten minutes; SECONDS=N; a moment of it is a part of make test
# make stress   everything at once, for ten minutes
# make test-aarch64  what of the tests can be run for AArch64 on another machine, cross-compiled, under qemu
# make install  PREFIX=/usr/local DESTDIR=

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
CC ?= cc

# For another machine: Rust's name for it, with CC a compiler for it.
TARGET ?=
BUILD := target/$(if $(TARGET),$(TARGET)/)release
# Functions begin at multiples of 32 bytes, where the compiler knows how to do that. Where they may begin at 16, it was a
# matter of what else changed whether a processor expected the calls of four observers well (20 ns a pair) or not (32).
ALIGN_FUNCTIONS := -C llvm-args=-align-all-functions=5
ALIGN = $(shell rustc $(ALIGN_FUNCTIONS) --print target-cpus >/dev/null 2>&1 && echo '$(ALIGN_FUNCTIONS)')
DIST := target/$(if $(TARGET),$(TARGET)/)dist
ENTRIES := malloc free calloc realloc reallocarray memalign aligned_alloc posix_memalign \
           valloc pvalloc malloc_usable_size free_sized free_aligned_sized

.PHONY: all dist demo test test-aarch64 bench model model-mutations miri fuzz attack stress install clean

all: dist

dist:
	# Not as an rlib too: as long as another Rust crate might name them, statics that hot functions read
	# are reached by way of the global offset table.
	$(CARGO) rustc --release --lib --crate-type cdylib,staticlib \
	  $(if $(TARGET),--target $(TARGET) --config 'target.$(TARGET).linker="$(CC)"') -- $(ALIGN)
	CC="$(CC)" ENTRIES="$(ENTRIES)" sh tests/tools/dist.sh $(BUILD) $(DIST)

demo: dist
	sh examples-c/demo.sh $(DIST)

test: dist model model-mutations
	sh tests/tools/miri.sh 1 optional
	sh tests/tools/setup.sh
	if MEMHOOK_FUZZ_SECONDS=60; export MEMHOOK_FUZZ_SECONDS; $(CARGO) nextest --version >/dev/null 2>&1; \
	then $(CARGO) nextest run -p memhook-tests -p memhook-trace --no-fail-fast; \
	else $(CARGO) test -p memhook-tests -p memhook-trace --no-fail-fast; fi

test-aarch64:
	CARGO="$(CARGO)" MAKE="$(MAKE)" sh tests/tools/aarch64.sh $(TESTS)

# The library's own text in every interleaving that matters: see tests/model/README.md.
model:
	cd tests/model && CARGO_TARGET_DIR=../../target/model $(CARGO) test --release --locked

model-mutations:
	cd tests/model && CARGO_TARGET_DIR=../../target/model $(CARGO) test --release --locked -- \
	  --ignored --nocapture every_weakened_ordering

# The library's own text, and the reader of traces, interpreted: see tests/miri/README.md.
miri:
	sh tests/tools/miri.sh $(or $(SEEDS),1)

bench: dist
	$(CARGO) run --release -q -p memhook-bench -- $(if $(WHOLE),--whole) $(if $(SCALING),--scaling) $(BENCH)

# The short form is a part of make test.
fuzz: dist
	MEMHOOK_FUZZ=$(or $(RUNS),1000000) PROPTEST_CASES=$(or $(RUNS),100000) \
	  $(CARGO) test -p memhook-tests --test properties -- --nocapture
	CARGO="$(CARGO)" sh tests/tools/fuzz.sh $(or $(SECONDS),3600)

attack: dist
	MEMHOOK_ATTACK_SECONDS=$(or $(SECONDS),600) \
	  $(CARGO) test -p memhook-tests --test attack -- --test-threads 1 --nocapture
	MEMHOOK_FUZZ_SECONDS=60 $(CARGO) test -p memhook-trace --test fuzz

# Everything at once, for ten minutes.
stress: dist
	mkdir -p target/stress
	$(CC) -g -O1 -shared -fPIC -I $(DIST)/include tests/c/stress_plugin.c -L $(DIST)/lib -lmemhook \
	  -Wl,-rpath,$(abspath $(DIST)/lib) -o target/stress/plugin.so
	$(CC) -g -O1 -pthread -I $(DIST)/include -DPLUGIN='"$(abspath target/stress/plugin.so)"' tests/c/stress.c \
	  -L $(DIST)/lib -lmemhook -ldl -Wl,-rpath,$(abspath $(DIST)/lib) -o target/stress/stress
	target/stress/stress 600

install: INTO = $(DESTDIR)$(PREFIX)
install: dist
	install -d "$(INTO)/lib/memhook" "$(INTO)/lib/pkgconfig" "$(INTO)/include/memhook"
	install -m 755 $(DIST)/lib/libmemhook.so.0 "$(INTO)/lib/libmemhook.so.0"
	install -m 755 $(DIST)/lib/libmemhook-mmap.so "$(INTO)/lib/libmemhook-mmap.so"
	ln -sf libmemhook.so.0 "$(INTO)/lib/libmemhook.so"
	install -m 644 $(DIST)/lib/libmemhook.a "$(INTO)/lib/libmemhook.a"
	install -m 644 $(DIST)/lib/memhook/memhook-static.opt "$(INTO)/lib/memhook/memhook-static.opt"
	install -m 644 $(DIST)/include/memhook.h "$(INTO)/include/memhook.h"
	install -m 644 $(DIST)/include/memhook/glibc.h "$(INTO)/include/memhook/glibc.h"
	for pc in memhook memhook-static; do \
	  sed 's|^prefix=.*|prefix=$(PREFIX)|' $(DIST)/lib/pkgconfig/$$pc.pc > "$(INTO)/lib/pkgconfig/$$pc.pc" || exit 1; \
	done

clean:
	$(CARGO) clean
