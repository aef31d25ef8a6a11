//! How much stack the library takes: at most 4 KiB for a function of the header and for the first call of a process or of
//! a fork child, at most 2 KiB for an allocation call under any tool.
//!
//! The programs paint the stack below a call and look how far down it was written to. What the C library takes in the
//! same call is part of it. `cargo nextest run -p memhook-tests --test stack --no-capture` shows the tables.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use support::{Link, Outcome, compile, folder, is_emulated, library, root, run, shell};

const OF_A_FUNCTION: usize = 4096;
const OF_A_CALL: usize = 2048;

/// Compiles a program whose symbols are bound at its start: what the dynamic linker takes to bind one is not the
/// library's.
fn program(name: &str, folder: &Path, link: Link) -> std::path::PathBuf {
    let source = root().join("tests/c").join(format!("{name}.c"));
    compile(&source, &folder.join(name), link).arg("-Wl,-z,now").run()
}

fn output(command: &mut Command) -> String {
    let Outcome { status, stdout, .. } = run(command);
    assert_eq!(status, 0, "{command:?}: {stdout}");
    stdout
}

/// Names and the bytes that belong to them, of lines that end with the bytes.
fn table(text: &str, between: &str) -> Vec<(String, usize)> {
    let row = |line: &str| {
        let (name, bytes) = line.rsplit_once(between).unwrap_or_else(|| panic!("a row: {line}"));
        (name.to_owned(), bytes.parse().expect("a number"))
    };
    text.lines().map(row).collect()
}

/// Shows a table for docs/SAFETY.md, and checks the bound.
fn check(of: &str, rows: &[(String, usize)], bound: usize) {
    println!("| {of} | bytes of stack |\n| --- | --- |");
    for (name, bytes) in rows {
        println!("| {name} | {bytes} |");
    }
    let above: Vec<_> = rows.iter().filter(|(_, bytes)| *bytes > bound).collect();
    assert!(above.is_empty(), "more than {bound} bytes: {above:?}");
    assert!(rows.iter().all(|(_, bytes)| *bytes > 0), "{rows:?}");
}

#[test]
fn functions_of_the_headers_take_at_most_4_kib_of_stack() {
    let folder = folder("stack_functions");
    let program = program("stack_use", &folder, Link::Shared);
    let listed = output(&mut Command::new(&program));
    let listed: BTreeSet<&str> = listed.lines().collect();
    let symbols = fs::read_to_string(root().join("tests/abi/symbols.txt")).expect("the list of symbols");
    let shared = symbols.split("# Global symbols").next().unwrap_or("");
    // The functions of glibc.h take no arguments; other names are those of entry points.
    let functions = shared.lines().filter(|name| name.starts_with('m') && !name.starts_with("malloc"));
    let functions: Vec<&str> = functions.filter(|name| *name != "memalign").collect();
    let of_glibc = |name: &str| name.starts_with("memhook_glibc_");
    let forgotten: Vec<_> =
        functions.iter().filter(|name| !of_glibc(name) && !listed.contains(**name)).collect();
    assert!(forgotten.is_empty(), "not measured: {forgotten:?}");
    let all = functions.iter().map(|name| output(Command::new(&program).arg(name).arg(&folder)));
    let mut rows = table(&all.collect::<String>(), " ");
    rows.sort_by_key(|(name, bytes)| (std::cmp::Reverse(*bytes), name.clone()));
    check("function", &rows, OF_A_FUNCTION);
}

#[test]
fn allocation_calls_take_at_most_2_kib_of_stack_under_any_tool() {
    let folder = folder("stack_calls");
    let program = program("stack_use", &folder, Link::Shared);
    let (mut calls, mut first) = (Vec::new(), Vec::new());
    let tools = ["none", "usage", "trace", "binary", "unwind", "check", "fail", "all"];
    // A trace that cannot go on says so in an allocation call.
    let cases = tools.map(|tool| (tool, "unlimited")).into_iter();
    for (tool, most) in cases.chain(["trace", "binary", "unwind"].map(|tool| (tool, "1000"))) {
        let mut command = shell("ulimit -f $1; shift; exec \"$@\"");
        let text = output(command.args(["sh", most]).arg(&program).arg("calls").arg(&folder).arg(tool));
        let rows = table(&text, ": ");
        let (of_child, of_calls): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(name, _)| name.starts_with("first call"));
        assert!(of_calls.len() >= 13 && of_child.len() == 1, "{text}");
        let worst = of_calls.iter().max_by_key(|(_, bytes)| *bytes).expect("rows").clone();
        calls.push(worst);
        first.extend(of_child);
    }
    check("allocation call", &calls, OF_A_CALL);
    check("first call", &first, OF_A_FUNCTION);
}

#[test]
fn the_first_call_of_a_process_takes_at_most_4_kib_of_stack() {
    let folder = folder("stack_first");
    let program = program("stack_first", &folder, Link::None);
    let mut rows = Vec::new();
    for words in [
        "",
        "nonsense",
        "trace=%e.trace",
        "trace=%e.%n,binary,unwind:32",
        "usage=file:%e.usage,data:%e.data,timer",
        "usage=program:stack_first,signal:USR1",
        "check",
        "fail=nth:3,from:stack_first",
        "usage trace=all.trace check fail=nth:1000",
    ] {
        let text = output(Command::new(&program).arg(library()).arg(words).current_dir(&folder));
        rows.push((format!("MEMHOOK='{words}'"), text.trim().parse().expect("a number")));
    }
    check("first call", &rows, OF_A_FUNCTION);
}

fn fine(command: &mut Command) {
    let fine = Outcome { status: 0, stdout: "fine\n".into(), stderr: String::new() };
    assert_eq!(run(command), fine, "{command:?}");
}

#[test]
fn tools_start_and_stop_in_a_thread_of_the_smallest_stack() {
    let folder = folder("stack_small_thread");
    let program = program("stack_small", &folder, Link::Shared);
    for what in ["trace", "binary", "unwind", "mtrace", "usage", "check", "fail"] {
        let trace = folder.join("mtrace");
        fine(Command::new(&program).arg("thread").arg(&folder).arg(what).env("MALLOC_TRACE", trace));
    }
}

#[test]
fn fork_children_of_small_stacks_begin_their_own_trace() {
    let folder = folder("stack_small_fork");
    let program = program("stack_small", &folder, Link::Shared);
    for (number, what) in ["fork", "handler"].into_iter().enumerate() {
        if what == "handler" && is_emulated() {
            // The emulator puts a context of its own size onto the stack.
            continue;
        }
        for words in ["trace=%e.%p", "trace=%e.%p,binary,unwind:63"] {
            let folder = folder.join(format!("{number}{}", words.len()));
            fs::create_dir(&folder).expect("writable");
            let mut command = Command::new(&program);
            command.env("LD_PRELOAD", library()).env("MEMHOOK", words).current_dir(&folder).arg(what);
            fine(&mut command);
            assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 2, "{what} {words}");
        }
    }
}
