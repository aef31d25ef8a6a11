//! Real programs under preloaded hooks: same output and exit status as without.
//!
//! `MEMHOOK_LONG=1` runs the long form. A program that is not installed is skipped by name.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};
use support::{Link, Outcome, folder, input, library, library_folders, root, run_for};

/// The hooks that are in force while a program runs: of tests/c, and the tools of the library.
const TOOLS: [&str; 4] = ["p_observer", "p_passing", "p_accounting", "usage"];

/// Those that a word starts, which has the file for its report in it.
const WORDS: [(&str, &str); 1] = [("usage", "usage=file:")];

fn is_long() -> bool {
    env::var_os("MEMHOOK_LONG").is_some_and(|value| value != "0")
}

/// One number for the short form and one for the long.
fn amount(short: u32, long: u32) -> String {
    if is_long() { long } else { short }.to_string()
}

fn word(name: &str) -> Option<&'static str> {
    WORDS.iter().find(|(tool, _)| *tool == name).map(|(_, word)| *word)
}

fn tool(name: &str) -> &'static Path {
    static BUILT: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let folder = folder("programs-tools");
        let build = |name: &&str| {
            let source = root().join(format!("tests/c/{name}.c"));
            support::compile(&source, &folder.join(format!("{name}.so")), Link::Plugin).run()
        };
        TOOLS.iter().filter(|tool| word(tool).is_none()).map(build).collect()
    });
    &built[TOOLS.iter().position(|&tool| tool == name).expect("a tool of the list")]
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The program's path; a line that says so where it is missing.
fn installed(program: &str) -> Option<PathBuf> {
    let found = find(program);
    if found.is_none() {
        println!("skipped: {program} is not installed");
    }
    found
}

/// A python3, and which of the modules asked for its test suite has: of those that are installed, the first that has
/// the most. Distributions leave some out.
fn python(modules: &[&str]) -> Option<(PathBuf, Vec<String>)> {
    let code = "import sys, sqlite3, test.support, importlib.util as u\n\
                print(sys.executable, *[m for m in sys.argv[1:] if u.find_spec('test.' + m)])";
    let ask = |python: &str| {
        let output = Command::new(python).args(["-c", code]).args(modules).output().ok()?;
        let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
        let mut words = text.split_whitespace().map(str::to_owned);
        Some((PathBuf::from(words.next()?), words.collect::<Vec<_>>()))
    };
    let all = ["python3", "/usr/bin/python3"].iter().filter_map(|python| ask(python));
    let found = all.min_by_key(|(_, present)| modules.len() - present.len());
    if found.is_none() {
        println!("skipped: python3 with its test suite is not installed");
    }
    found
}

fn jemalloc() -> Option<PathBuf> {
    let found = library_folders().iter().map(|f| f.join("libjemalloc.so.2")).find(|file| file.exists());
    if found.is_none() {
        println!("skipped: libjemalloc.so.2 is not installed");
    }
    found
}

/// A real program and how to compare two of its runs.
struct Trial<'a> {
    name: &'a str,
    tools: &'a [&'a str],
    /// The allocator that is preloaded below the library and in the plain run.
    below: Option<PathBuf>,
    /// Makes the command, which runs in the folder given.
    command: &'a dyn Fn(&Path) -> Command,
    /// What of a run is to be the same: of its outcome, and of the files in the folder.
    result: &'a dyn Fn(&Path, Outcome) -> String,
    /// The exit status of the plain run, where it is known: "same" is to mean something.
    status: Option<i32>,
    /// How many callbacks there are at least.
    calls: u64,
}

fn everything(_: &Path, outcome: Outcome) -> String {
    format!("status {}\n{}\nstderr:\n{}", outcome.status, outcome.stdout, outcome.stderr)
}

impl Trial<'_> {
    fn compare(&self) {
        let plain = self.run(None);
        assert!(plain.lines().count() > 2, "{}: says nothing without the library:\n{plain}", self.name);
        let expected = self.status.map_or("status ".into(), |status| format!("status {status}\n"));
        assert!(plain.starts_with(&expected), "{} without the library: not {expected}{plain}", self.name);
        for &tool in self.tools {
            let count = root().join("target/tests").join(format!("{}.{tool}.count", self.name));
            let _ = fs::remove_file(&count);
            let hooked = self.run(Some((tool, &count)));
            assert!(hooked == plain, "{} under {tool}:\n{}", self.name, difference(&plain, &hooked));
            let counts = fs::read_to_string(&count).unwrap_or_default();
            // A line for each process, or lines of its report.
            let calls = |line: &str| {
                let rows = [" malloc|", "realloc|", " calloc|", "   free|"];
                let numbers = rows.iter().find_map(|row| line.strip_prefix(row)).unwrap_or(line);
                numbers.trim_start().split(' ').next().and_then(|n| n.parse::<u64>().ok())
            };
            let all: u64 = counts.lines().filter(|line| !line.contains('%')).filter_map(calls).sum();
            assert!(all >= self.calls, "{} under {tool}: only {all} callbacks", self.name);
            println!(
                "{:<20} {tool:<13} same: {} lines, {all} callbacks in {} processes",
                self.name,
                plain.lines().count(),
                counts.lines().count()
            );
        }
    }

    fn run(&self, hooks: Option<(&str, &Path)>) -> String {
        let folder = folder(&format!("program-{}", self.name));
        let mut command = (self.command)(&folder);
        let mut preload = Vec::new();
        if let Some((name, count)) = hooks {
            preload.push(library());
            if let Some(word) = word(name) {
                command.env("MEMHOOK", format!("{word}{}", count.display()));
            } else {
                preload.push(tool(name).to_owned());
                command.env("P_COUNT", count);
            }
        } else {
            // The plain run has as many variables: programs print how many there are.
            command.env("P_COUNT", "");
        }
        preload.extend(self.below.clone());
        let preload: Vec<_> = preload.iter().map(|path| path.display().to_string()).collect();
        command.env("LD_PRELOAD", preload.join(" ")).current_dir(&folder);
        let outcome = run_for(&mut command, if is_long() { 3000 } else { 300 });
        (self.result)(&folder, outcome)
    }
}

/// The first lines that differ.
fn difference(plain: &str, hooked: &str) -> String {
    let (mut left, mut right) = (plain.lines(), hooked.lines());
    let mut text = String::new();
    for number in 1.. {
        let pair = (left.next(), right.next());
        if pair == (None, None) || text.len() > 4000 {
            break;
        }
        if pair.0 != pair.1 {
            let _ = writeln!(text, "line {number}:\n  plain:  {:?}\n  hooked: {:?}", pair.0, pair.1);
        }
    }
    text
}

/// Modules of Python's own test suite, compared test by test.
fn python_suite(name: &str, tools: &[&str], below: Option<PathBuf>, modules: &[&str]) {
    python_suite_without(name, tools, below, modules, None);
}

/// As [`python_suite`], but for one test.
fn python_suite_without(
    name: &str,
    tools: &[&str],
    below: Option<PathBuf>,
    modules: &[&str],
    left_out: Option<&str>,
) {
    let Some((python, present)) = python(modules) else { return };
    for module in modules.iter().filter(|module| present.iter().all(|name| name != *module)) {
        println!("skipped: {name}: {module} is not installed");
    }
    // Modules of the long form wait more than they work.
    let processes = if is_long() { "3" } else { "1" };
    let command = |_: &Path| {
        let mut command = Command::new(&python);
        // Every object comes from malloc, not from Python's own allocator.
        command.env("PYTHONMALLOC", "malloc").env("PYTHONHASHSEED", "0");
        // A process for each module: one that leaves tracing on makes a signal in a later one spin, in Python 3.11.
        command.args(["-m", "test", "-j", processes, "--junit-xml", "result.xml"]);
        command.args(left_out.iter().flat_map(|test| ["-i", test])).args(&present);
        command
    };
    let result = |folder: &Path, outcome: Outcome| {
        let mut reader = Command::new(&python);
        let read = run_for(reader.arg(input("junit.py")).arg(folder.join("result.xml")), 60);
        assert_eq!(read.status, 0, "{name}: {}\n{}\n{}", read.stderr, outcome.stdout, outcome.stderr);
        // A test that fails without the library may do so with it.
        format!("status {}\n{}", outcome.status, read.stdout)
    };
    Trial { name, tools, below, command: &command, result: &result, status: None, calls: 100_000 }.compare();
}

#[test]
fn python_objects() {
    let mut modules = vec![
        "test_json",
        "test_re",
        "test_dict",
        "test_list",
        "test_zlib",
        "test_pickle",
        "test_hashlib",
        "test_weakref",
        "test_ctypes",
        "test_gc",
        "test_bytes",
        "test_sqlite3",
    ];
    if is_long() {
        modules.extend(["test_io", "test_set", "test_itertools", "test_decimal"]);
        modules.extend(["test_unicode", "test_memoryview", "test_mmap", "test_collections", "test_ast"]);
    }
    python_suite("python-objects", &TOOLS, None, &modules);
}

#[test]
fn python_threads_and_processes() {
    let mut modules = vec!["test_thread", "test_fork1", "test_threading"];
    if is_long() {
        modules.extend(["test_signal", "test_asyncio"]);
        modules.extend(["test_concurrent_futures", "test_multiprocessing_fork"]);
    }
    python_suite("python-threads", if is_long() { &TOOLS } else { &TOOLS[..2] }, None, &modules);
    if is_long() {
        let modules = ["test_subprocess"];
        python_suite("python-subprocess", &TOOLS[..3], None, &modules);
        // The child of that test has the descriptors that it was given and no others; and that of the report.
        let test = Some("test_pass_fds_redirected");
        python_suite_without("python-subprocess-usage", &TOOLS[3..], None, &modules, test);
    }
}

#[test]
fn python_over_jemalloc() {
    let Some(jemalloc) = jemalloc() else { return };
    let modules = ["test_json", "test_dict", "test_list", "test_thread", "test_zlib", "test_sqlite3"];
    python_suite("python-jemalloc", &TOOLS, Some(jemalloc), &modules);
}

#[test]
fn python_pools() {
    let Some((python, _)) = python(&[]) else { return };
    for method in ["fork", "spawn"] {
        let command = |_: &Path| {
            let mut command = Command::new(&python);
            command.arg(input("pool.py")).arg(method).env("PYTHONMALLOC", "malloc");
            command
        };
        let name = format!("python-pool-{method}");
        let trial = Trial {
            name: &name,
            tools: &TOOLS,
            below: None,
            command: &command,
            result: &everything,
            status: Some(0),
            calls: 1000,
        };
        trial.compare();
    }
}

#[test]
fn git_repository() {
    let Some(_) = installed("git") else { return };
    let command = |_: &Path| {
        let mut command = Command::new("sh");
        command.arg(input("repository.sh")).arg(amount(40, 400));
        command
    };
    let trial = Trial {
        name: "git",
        tools: &TOOLS,
        below: None,
        command: &command,
        result: &everything,
        status: Some(0),
        calls: 10_000,
    };
    trial.compare();
}

/// A real repository: this one, where it is one.
#[test]
fn git_own_repository() {
    let Some(_) = installed("git") else { return };
    let head = run_for(Command::new("git").arg("-C").arg(root()).args(["rev-parse", "HEAD"]), 60);
    if head.status != 0 {
        println!("skipped: {} is no git repository", root().display());
        return;
    }
    let command = |_: &Path| {
        let mut command = Command::new("sh");
        command.arg(input("own.sh")).arg(root()).arg(head.stdout.trim());
        command
    };
    let trial = Trial {
        name: "git-own",
        tools: &TOOLS,
        below: None,
        command: &command,
        result: &everything,
        status: Some(0),
        calls: 10_000,
    };
    trial.compare();
}

/// A C file of many functions, the same every time.
fn large_c_file(functions: u32) -> String {
    let mut text = String::from("#include <stdio.h>\n#include <string.h>\n#include <math.h>\n");
    let mut state = 1u32;
    let mut draw = |n: u32| {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12345);
        (state >> 16) % n
    };
    for n in 0..functions {
        let (a, b, c) = (draw(100) + 1, draw(1000), draw(31) + 1);
        let _ = write!(
            text,
            "struct s{n} {{ int a[{a}]; double d; struct s{n} *next; }};\n\
             static double f{n}(struct s{n} *s, int k) {{\n\
             \x20 double sum = {b};\n\
             \x20 for (; s; s = s->next)\n\
             \x20   for (int i = 0; i < {a}; i++)\n\
             \x20     switch ((s->a[i] ^ k) % {c}) {{\n\
             \x20     case 0: sum += sqrt(s->d) * i; break;\n\
             \x20     case {c}: sum -= s->a[(i * {b}) % {a}]; break;\n\
             \x20     default: sum *= 1.0 + k / {b}.5; s->a[i] = (s->a[i] << {c} % 31) | k;\n\
             \x20     }}\n\
             \x20 return sum;\n}}\n"
        );
        let _ = writeln!(
            text,
            "double g{n}(int k) {{ struct s{n} s = {{ .d = k }}, t = {{ .next = &s }}; \
             memset(t.a, k, sizeof t.a); return f{n}(&t, k) + f{n}(&s, {b}); }}"
        );
    }
    text
}

/// Compiles, and compares all files that come out.
fn compiler(name: &str, program: &str, source: &dyn Fn(&Path) -> PathBuf, arguments: &[&str]) {
    if installed(program).is_none() {
        return;
    }
    let command = |folder: &Path| {
        let mut command = Command::new("sh");
        let source = source(folder);
        let script = "\"$@\" -S -o out.s && \"$@\" -c -o out.o && cksum out.s out.o";
        command.args(["-c", script, "sh", program]).args(arguments).arg(source);
        command
    };
    let result = |folder: &Path, outcome: Outcome| {
        let assembly = fs::read_to_string(folder.join("out.s")).unwrap_or_default();
        everything(folder, outcome) + &assembly
    };
    let trial = Trial {
        name,
        tools: &TOOLS,
        below: None,
        command: &command,
        result: &result,
        status: Some(0),
        calls: 100_000,
    };
    trial.compare();
}

#[test]
fn gcc_large_file() {
    let source = |folder: &Path| {
        let file = folder.join("large.c");
        fs::write(&file, large_c_file(if is_long() { 1000 } else { 200 })).expect("target/tests is writable");
        file
    };
    compiler("gcc", "gcc", &source, &["-O2", "-g", "-Wall", "-Wextra"]);
}

#[test]
fn gxx_templates() {
    compiler("g++", "g++", &|_| input("templates.cpp"), &["-std=c++17", "-O1", "-g", "-pipe"]);
}

#[test]
fn perl_script() {
    let Some(_) = installed("perl") else { return };
    let command = |_: &Path| {
        let mut command = Command::new("perl");
        command.env("PERL_HASH_SEED", "0").arg(input("work.pl")).arg(amount(20_000, 200_000));
        command
    };
    let trial = Trial {
        name: "perl",
        tools: &TOOLS,
        below: None,
        command: &command,
        result: &everything,
        status: Some(0),
        calls: 10_000,
    };
    trial.compare();
}

fn sqlite(name: &str, below: Option<PathBuf>) {
    let Some(_) = installed("sqlite3") else { return };
    // A million of them once, even in the short form.
    let rows = amount(if below.is_some() { 100_000 } else { 1_000_000 }, 1_000_000);
    let command = |folder: &Path| {
        let text = fs::read_to_string(input("inserts.sql")).expect("the script is there");
        let script = folder.join("script.sql");
        fs::write(&script, text.replace("@ROWS@", &rows)).expect("writable");
        let mut command = Command::new("sqlite3");
        command.args(["-batch", "base.db"]).arg(".read script.sql");
        command
    };
    let trial = Trial {
        name,
        tools: &TOOLS,
        below,
        command: &command,
        result: &everything,
        status: Some(1),
        calls: 100_000,
    };
    trial.compare();
}

#[test]
fn sqlite_inserts() {
    sqlite("sqlite3", None);
}

#[test]
fn sqlite_over_jemalloc() {
    let Some(jemalloc) = jemalloc() else { return };
    sqlite("sqlite3-jemalloc", Some(jemalloc));
}

#[test]
fn node_workers() {
    let Some(_) = installed("node") else { return };
    let command = |_: &Path| {
        let mut command = Command::new("node");
        command.arg(input("work.js")).arg(amount(4, 40));
        command
    };
    let trial = Trial {
        name: "node",
        tools: &TOOLS,
        below: None,
        command: &command,
        result: &everything,
        status: Some(3),
        calls: 10_000,
    };
    trial.compare();
}
