//! Compiles the examples as a newcomer would, runs them, and compares what they print.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Build, Link, Outcome, compile, dist, folder, itself, library, root, run, run_for};

/// Compiles an example as strict C11 and as GNU C11; the latter is the one to run.
fn example(name: &str, folder: &Path, link: Link) -> PathBuf {
    let source = root().join("examples-c").join(format!("{name}.c"));
    let output = folder.join(if link == Link::Plugin { format!("{name}.so") } else { name.into() });
    let build = |standard: &str| -> Build {
        compile(&source, &output, link).arg("-Wpedantic").arg(format!("-std={standard}"))
    };
    build("c11").arg("-O2").run();
    build("gnu11").arg("-O2").run()
}

/// Compiles a program that knows nothing of the library.
fn stranger(name: &str, text: &str, folder: &Path) -> PathBuf {
    let source = folder.join(format!("{name}.c"));
    fs::write(&source, text).expect("writable");
    compile(&source, &folder.join(name), Link::None).run()
}

fn preloaded(tool: &Path, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("LD_PRELOAD", format!("{} {}", library().display(), tool.display()));
    command
}

fn succeeded(stdout: &str) -> Outcome {
    Outcome { status: 0, stdout: stdout.into(), stderr: String::new() }
}

#[test]
fn failpoints_visits_every_point_of_failure() {
    let program = example("failpoints", &folder("example-failpoints"), Link::Shared);
    assert_eq!(run(&mut Command::new(program)), succeeded("run 11: nothing failed, 6 words\n"));
}

#[test]
fn accounting_counts_every_byte_in_every_thread() {
    let program = example("accounting", &folder("example-accounting"), Link::Shared);
    assert_eq!(
        run(&mut Command::new(program)),
        succeeded(
            "\
One thread
  malloc(100)                                      +100 bytes
  realloc to 1000                                  +900 bytes
  aligned_alloc(4096, 8192)                       +8192 bytes
  ... is aligned to 4096: yes
  ... has 8192 usable bytes: yes
  strdup of 41 characters                           +42 bytes
  realloc to PTRDIFF_MAX, which fails                +0 bytes
  all of them freed                               -9234 bytes
4 threads with 10000 blocks each
  made with malloc and calloc                  +4000000 bytes
  grown with realloc                           +6000000 bytes
  freed                                       -10000000 bytes
"
        )
    );
}

#[test]
fn accounting_asks_for_all_of_a_block_with_each_shift() {
    let folder = folder("example-accounting-shift");
    let source = root().join("tests/c/example_accounting_shift.c");
    for shift in [3, 4] {
        let build = compile(&source, &folder.join(format!("shift{shift}")), Link::Shared);
        let program = build.arg(format!("-DMALLOC_SHIFT={shift}")).run();
        assert_eq!(run(&mut Command::new(program)), succeeded("room for all bytes\n"), "{shift}");
    }
}

#[test]
fn accounting_works_linked_with_each_library() {
    let folder = folder("example-accounting-links");
    let source = root().join("examples-c/accounting.c");
    let outputs = [Link::Shared, Link::Archive, Link::Static].map(|link| {
        let program = compile(&source, &folder.join(format!("{link:?}")), link).run();
        run(&mut Command::new(program))
    });
    assert_eq!(outputs[0].status, 0);
    assert_eq!(outputs[1], outputs[0], "archive");
    assert_eq!(outputs[2], outputs[0], "static");
}

#[test]
fn swapchain_shows_no_mixture() {
    let program = example("swapchain", &folder("example-swapchain"), Link::Shared);
    assert_eq!(
        run(&mut Command::new(program)),
        succeeded(
            "\
swaps while 3 threads allocate: 300
new chain at work after a swap: 300
calls that a former chain still saw: 0
calls that saw a mixture: 0
red: outer and inner saw the same calls: yes
blue: outer and inner saw the same calls: yes
hooks left: 0
"
        )
    );
}

#[test]
fn plugin_comes_and_goes_under_load() {
    let folder = folder("example-plugin");
    let host = example("plugin_host", &folder, Link::Shared);
    let plugin = example("plugin", &folder, Link::Plugin);
    assert_eq!(
        run(Command::new(host).arg(plugin)),
        succeeded(
            "\
rounds while 3 threads allocate: 500
hooked by dlopen: 500
saw blocks: 500
unhooked by dlclose: 500
unmapped: 500
"
        )
    );
}

#[test]
fn failing_finds_the_careless_function() {
    let program = example("failing", &folder("example-failing"), Link::Shared);
    assert_eq!(
        run(&mut Command::new(program)),
        succeeded(
            "\
careful_copy
  allocation 1 fails: reported, nothing lost
  allocation 2 fails: reported, nothing lost
  allocation 3 fails: reported, nothing lost
  allocation 4 fails: reported, nothing lost
  allocation 5 fails: reported, nothing lost
  5 allocations in all
careless_copy
  allocation 1 fails: reported, nothing lost
  allocation 2 fails: goes unnoticed
  allocation 3 fails: reported, 2 blocks lost
  allocation 4 fails: goes unnoticed
  allocation 5 fails: reported, 3 blocks lost
  5 allocations in all
the other thread: 0 failures
unregistered: Success
"
        )
    );
}

/// One row of a call counter's table.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Row {
    calls: u64,
    failed: u64,
    bytes: u64,
}

/// A call counter's table: the program's name, and the rows by function.
fn table(text: &str) -> (String, BTreeMap<String, Row>) {
    let mut lines = text.lines();
    let heading = lines.next().expect("a heading");
    let program = heading.strip_prefix("callcount: ").and_then(|rest| rest.split(", process ").next());
    let columns = lines.next().expect("the columns' names");
    assert_eq!(
        columns.split_whitespace().collect::<Vec<_>>(),
        ["function", "calls", "failed", "bytes", "asked", "for"],
        "{text}"
    );
    let rows = lines.map(|line| {
        let [name, calls, failed, bytes] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("not a row: {line}");
        };
        let number = |text: &str| text.parse().expect("a number");
        (name.into(), Row { calls: number(calls), failed: number(failed), bytes: number(bytes) })
    });
    (program.expect("a heading").into(), rows.collect())
}

/// Makes a number of rounds of known calls in each of four threads.
const KNOWN_CALLS: &str = r#"
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int rounds;
static pthread_barrier_t all_here;

static void *worker(void *unused)
{
    /* All threads are made before one ends: none gets another's stack, and its allocations. */
    pthread_barrier_wait(&all_here);
    for (int i = 0; i < rounds; i++) {
        /* All volatile: or the compiler leaves pairs of calls out. */
        volatile size_t too_much = PTRDIFF_MAX, half = SIZE_MAX / 2 + 1;
        void *volatile p = malloc(too_much);
        free(p);
        p = malloc(10);
        if (realloc(p, too_much) == NULL)
            p = realloc(p, 20);
        free(p);
        p = calloc(3, 5);
        free(p);
        p = calloc(half, 2);
        free(p);
        p = reallocarray(NULL, 2, 8);
        p = reallocarray(p, 4, 8);
        free(p);
        p = memalign(32, 100);
        free(p);
        p = aligned_alloc(32, 64);
        free(p);
        p = NULL;
        if (posix_memalign((void **)&p, 64, 7) == 0)
            free(p);
        p = valloc(1);
        free(p);
        p = pvalloc(1);
        free(p);
        free(NULL);
    }
    return unused;
}

int main(int argc, char **argv)
{
    (void)argc;
    rounds = atoi(argv[1]);
    pthread_t threads[4];
    pthread_barrier_init(&all_here, NULL, 4);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, worker, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    if (fork() == 0) {
        void *volatile p = malloc(1000000);
        free(p);
        exit(0);
    }
    wait(NULL);
    close(1);
    close(2);
    return 0;
}
"#;

#[test]
fn callcount_counts_known_calls_exactly() {
    let folder = folder("example-callcount");
    let tool = example("callcount", &folder, Link::Plugin);
    let program = stranger("known", KNOWN_CALLS, &folder);
    let count = |rounds: u64| {
        let file = folder.join(format!("table-{rounds}"));
        let outcome = run(preloaded(&tool, &program).arg(rounds.to_string()).env("CALLCOUNT_FILE", &file));
        assert_eq!(outcome, succeeded(""));
        let (name, rows) = table(&fs::read_to_string(file).expect("the table's file"));
        assert_eq!(name, "known");
        rows
    };
    // What the program's start and end need is in both.
    let (few, many) = (count(1), count(20_001));
    let difference = many.iter().map(|(name, many)| {
        let few = few[name];
        let row = Row {
            calls: many.calls - few.calls,
            failed: many.failed - few.failed,
            bytes: many.bytes - few.bytes,
        };
        (name.as_str(), row)
    });
    let times = |calls: u64, failed: u64, bytes: u64| Row {
        calls: calls * 80_000,
        failed: failed * 80_000,
        bytes: bytes * 80_000,
    };
    assert_eq!(
        difference.collect::<Vec<_>>(),
        [
            ("aligned_alloc", times(1, 0, 64)),
            ("calloc", times(2, 1, 15)),
            ("free", times(8, 0, 0)),
            ("malloc", times(2, 1, 10)),
            ("memalign", times(1, 0, 100)),
            ("posix_memalign", times(1, 0, 7)),
            ("pvalloc", times(1, 0, 1)),
            ("realloc", times(2, 1, 20)),
            ("reallocarray", times(2, 0, 16 + 32)),
            ("valloc", times(1, 0, 1)),
        ]
    );

    // Without a file: on standard error, which the program has closed; one table, not the child's.
    let outcome = run(preloaded(&tool, &program).arg("1"));
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, ""));
    assert_eq!(table(&outcome.stderr), ("known".into(), few));
}

#[test]
fn callcount_says_when_it_counts_nothing() {
    let folder = folder("example-callcount-alone");
    let tool = example("callcount", &folder, Link::Plugin);
    let program = stranger("known", KNOWN_CALLS, &folder);
    let outcome = run(Command::new(program).arg("1").env("LD_PRELOAD", tool));
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, ""));
    assert!(outcome.stderr.starts_with("callcount: counts nothing: "), "{}", outcome.stderr);
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
}

/// The program itself, where `python3` is a script that starts it.
fn python() -> PathBuf {
    let found = run(Command::new("python3").args(["-c", "import sys; print(sys.executable)"]));
    assert_eq!(found.status, 0, "python3 is needed: {}", found.stderr);
    found.stdout.trim_end().into()
}

#[test]
fn callcount_leaves_python_as_it_is() {
    let folder = folder("example-callcount-python");
    let tool = example("callcount", &folder, Link::Plugin);
    let file = folder.join("table");
    let work = "
import json, re, subprocess, sys, threading
found = []
def work():
    text = json.dumps([{'n': n, 's': str(n)} for n in range(3000)])
    found.append((len(json.loads(text)), len(re.findall('7', text))))
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
print(found)
print(subprocess.run(['/bin/echo', 'a child'], capture_output=True, env={}).stdout)
sys.exit(3)
";
    let python = python();
    let plain = run(Command::new(&python).args(["-c", work]).env("PYTHONMALLOC", "malloc"));
    assert_eq!((plain.status, plain.stderr.as_str()), (3, ""));
    let counted = run(preloaded(&tool, &python)
        .args(["-c", work])
        .env("PYTHONMALLOC", "malloc")
        .env("CALLCOUNT_FILE", &file));
    assert_eq!(counted, plain);

    let (name, rows) = table(&fs::read_to_string(file).expect("the table's file"));
    assert_eq!(Path::new(&name).file_name(), python.file_name());
    // Each of the four threads makes at least two blocks for each of 3000 elements, and the
    // interpreter gives them back.
    assert!(rows["malloc"].calls > 24_000, "{rows:?}");
    assert!(rows["free"].calls > 24_000, "{rows:?}");
    assert!(rows["malloc"].bytes > rows["malloc"].calls, "{rows:?}");
}

/// Makes known calls in two functions and then says what they returned.
const LOGGED_CALLS: &str = r#"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *volatile a, *volatile b, *volatile c, *volatile moved;
static volatile size_t too_much = PTRDIFF_MAX;

__attribute__((noinline)) static void make(void)
{
    a = malloc(24);
    b = calloc(5, 8);
    c = aligned_alloc(64, 128);
}

__attribute__((noinline)) static void change(void)
{
    moved = realloc(a, 40000);
    if (realloc(moved, too_much) != NULL)
        abort();
}

__attribute__((noinline)) static void end(void)
{
    free(moved);
    free(b);
    free(c);
    free(NULL);
}

int main(void)
{
    char text[200];
    make();
    void *before = a;
    change();
    end();
    int length = snprintf(text, sizeof text, "%p %p %p %p", before, b, c, moved);
    return write(1, text, (size_t)length) != length;
}
"#;

#[test]
fn calllog_tells_each_call_and_its_caller() {
    let folder = folder("example-calllog");
    let tool = example("calllog", &folder, Link::Plugin);
    let program = stranger("logged", LOGGED_CALLS, &folder);
    let outcome = run(&mut preloaded(&tool, &program));
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let [a, b, c, moved] = outcome.stdout.split(' ').collect::<Vec<_>>()[..] else {
        panic!("four pointers: {}", outcome.stdout);
    };

    let function = |offset: &str| {
        let offset = u64::from_str_radix(offset, 16).expect("an offset");
        // The last byte of the call, as the return address may be the next function's.
        let line = run(Command::new(support::tool("addr2line"))
            .arg("-f")
            .arg("-e")
            .arg(itself(&program))
            .arg(format!("{:#x}", offset - 1)));
        line.stdout.lines().next().expect("a function").to_owned()
    };
    let mut told = Vec::new();
    for line in outcome.stderr.lines() {
        let (call, from) = line.split_once("  [").unwrap_or_else(|| panic!("no caller: {line}"));
        let (object, offset) = from.strip_suffix(']').and_then(|from| from.split_once("+0x")).expect(line);
        assert_ne!(object, "?", "{line}");
        if object == "logged" {
            told.push((call.to_owned(), function(offset)));
        }
    }
    let expected = [
        (format!("malloc(24) = {a}"), "make"),
        (format!("calloc(40 bytes in 5) = {b}"), "make"),
        (format!("aligned_alloc(128, aligned to 64) = {c}"), "make"),
        (format!("realloc({a}, 40000) ..."), "change"),
        (format!("realloc({a}, 40000) = {moved}"), "change"),
        (format!("realloc({moved}, {}) ...", isize::MAX), "change"),
        (format!("realloc({moved}, {}) failed, {moved} lives on", isize::MAX), "change"),
        (format!("free({moved})"), "end"),
        (format!("free({b})"), "end"),
        (format!("free({c})"), "end"),
    ];
    assert_eq!(told, expected.map(|(call, function)| (call, function.to_owned())));
}

#[test]
fn demo_shows_figures_or_says_what_is_missing() {
    let demo = |command: &mut Command| {
        run_for(command.arg(root().join("examples-c/demo.sh")).arg(dist()).env_remove("CC"), 120)
    };
    let shown = demo(&mut Command::new("sh"));
    assert_eq!((shown.status, shown.stderr.as_str()), (0, ""), "{}", shown.stdout);
    for part in ["  freed                                       -10000000 bytes\n", "\ncallcount: "] {
        assert!(shown.stdout.contains(part), "{part:?} is not in\n{}", shown.stdout);
    }

    // A machine with a compiler, and no python3, no git, no way to install one.
    let bin = folder("example-demo-bare");
    for tool in ["sh", "cc", "as", "ld", "cat", "dirname", "grep", "id", "mkdir", "rm", "sed"] {
        let found = run(Command::new("sh").args(["-c", &format!("command -v {tool}")]));
        symlink(found.stdout.trim_end(), bin.join(tool)).expect("a link");
    }
    let bare = demo(Command::new(bin.join("sh")).env("PATH", &bin));
    assert_eq!(bare.status, 1, "{bare:?}");
    assert_eq!(
        bare.stderr,
        "demo: there is no python3 and no git here to count the calls of; install one of them.\n"
    );
}
