//! Programs built with a sanitizer, which brings an allocator of its own. Linked as usual, the sanitizer's
//! stands before the library, and the self-test says so. Preloaded, the library stands in front of it, and
//! what the sanitizer finds is what it finds without. docs/SAFETY.md has the rest.

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Link, Outcome, build, compile, folder, library, root, run};

/// `san_program.c` with `-fsanitize=<name>`; skipped, by name, where the compiler has no such runtime.
fn program(name: &str, link: Link) -> Option<PathBuf> {
    let folder = folder(&format!("san-{name}-{link:?}"));
    let probe = folder.join("probe.c");
    std::fs::write(&probe, "int main(void) { return 0; }\n").expect("writable");
    let option = format!("-fsanitize={name}");
    let mut there = Command::new("cc");
    there.arg(&option).arg(&probe).arg("-o").arg(folder.join("probe"));
    let runs = || run(&mut Command::new(folder.join("probe"))).status == 0;
    if !there.output().expect("the compiler runs").status.success() || !runs() {
        eprintln!("san-{name}: skipped: no program that is built with {option} runs here");
        return None;
    }
    let source = root().join("tests/c/san_program.c");
    let mut build = compile(&source, &folder.join("program"), link).arg(&option).arg("-fno-builtin");
    if link != Link::None {
        build = build.arg("-DSELF_TEST");
    }
    // That of "late" is what the test is about.
    Some(build.arg("-Wno-use-after-free").run())
}

fn says_who_is_in_front(name: &str) {
    for link in [Link::Shared, Link::Archive] {
        let Some(program) = program(name, link) else { return };
        let outcome = run(&mut Command::new(program));
        let said = outcome.stdout.lines().next().unwrap_or_default().to_owned();
        assert!(
            said.starts_with(&format!("{} memhook: these calls do not arrive: ", libc::ENOLINK)),
            "{said}"
        );
        assert!(said.contains(if name == "address" { "libasan" } else { "libtsan" }), "{said}");
        let expected = Outcome { status: 0, stdout: format!("{said}\nfine\n"), stderr: String::new() };
        assert_eq!(outcome, expected, "{name} {link:?}");
    }
}

#[test]
fn self_test_says_that_asan_is_in_front() {
    says_who_is_in_front("address");
}

#[test]
fn self_test_says_that_tsan_is_in_front() {
    says_who_is_in_front("thread");
}

/// Runs the program with the library in front of the sanitizer, and behind the library a tool, whose
/// callbacks are not instrumented.
fn preloaded(program: &Path, wrong: &str, tool: Option<&Path>) -> Outcome {
    let mut objects = library().display().to_string();
    if let Some(tool) = tool {
        objects += &format!(" {}", tool.display());
    }
    let mut command = Command::new(program);
    command.env("LD_PRELOAD", objects).env("ASAN_OPTIONS", "verify_asan_link_order=0");
    run(command.args((!wrong.is_empty()).then_some(wrong)))
}

fn finds_what_it_finds_without(name: &str, wrong: &str, finding: &str) {
    let Some(program) = program(name, Link::None) else { return };
    let tools = ["p_passing", "p_accounting"].map(|tool| build(tool, Link::Plugin));
    let plain = run(Command::new(&program).arg(wrong));
    assert!(plain.status != 0 && plain.stderr.contains(finding), "{}", plain.stderr);
    for tool in [None, Some(tools[0].as_path()), Some(tools[1].as_path())] {
        let fine = preloaded(&program, "", tool);
        let expected = Outcome { status: 0, stdout: "fine\n".into(), stderr: String::new() };
        assert_eq!(fine, expected, "{name} {tool:?}");
        let found = preloaded(&program, wrong, tool);
        assert_eq!(found.status, plain.status, "{name} {tool:?}: {}", found.stderr);
        assert!(found.stderr.contains(finding), "{name} {tool:?}: {}", found.stderr);
    }
}

#[test]
fn asan_finds_a_late_use_behind_the_library() {
    finds_what_it_finds_without("address", "late", "heap-use-after-free");
}

#[test]
fn tsan_finds_a_late_use_behind_the_library() {
    finds_what_it_finds_without("thread", "late", "heap-use-after-free");
}

#[test]
fn tsan_finds_a_race_behind_the_library() {
    finds_what_it_finds_without("thread", "race", "data race");
}
