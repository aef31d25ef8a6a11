//! Everything at once, for a moment: `make stress` is the long form. And the same library under
//! valgrind's eyes.

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Link, Outcome, compile, folder, root, run, run_for};

/// `tests/c/stress.c` in a folder of its own, and with it the plugin that it loads and unloads, where
/// plugins can be loaded.
fn build(name: &str, link: Link) -> PathBuf {
    let folder = folder(name);
    let source = |file: &str| root().join("tests/c").join(file);
    let program = compile(&source("stress.c"), &folder.join("stress"), link);
    if link == Link::Static {
        return program.run();
    }
    let plugin = compile(&source("stress_plugin.c"), &folder.join("plugin.so"), Link::Plugin).run();
    program.arg(format!("-DPLUGIN=\"{}\"", plugin.display())).run()
}

fn stress(command: &mut Command, seconds: &str, seed: &str) {
    let outcome = run_for(command.args([seconds, seed]), 120);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("hooks left 0"), "{}", outcome.stdout);
}

#[test]
fn r6_every_block_goes_back_to_its_owner_while_hooks_come_and_go() {
    stress(&mut Command::new(build("stress-shared", Link::Shared)), "4", "1");
}

#[test]
fn r6_every_block_goes_back_without_membarrier_too() {
    let program = build("stress-refused", Link::Shared);
    let refuse = program.with_file_name("refuse");
    compile(&root().join("tests/c/e_refuse.c"), &refuse, Link::None).run();
    stress(Command::new(refuse).arg("1").arg(program), "4", "3");
}

/// In `stress.c` an observer is in force all the time, so that no interceptor stands alone.
#[test]
fn r4_nothing_runs_after_its_end_where_one_hook_stands_alone() {
    for link in [Link::Shared, Link::Static] {
        let program = folder(&format!("stress-short-{link:?}")).join("stress_short");
        let program = compile(&root().join("tests/c/stress_short.c"), &program, link).run();
        stress(&mut Command::new(&program), "3", "1");
        if link == Link::Shared {
            let refuse = program.with_file_name("refuse");
            compile(&root().join("tests/c/e_refuse.c"), &refuse, Link::None).run();
            stress(Command::new(refuse).arg("1").arg(program), "3", "2");
        }
    }
}

#[test]
fn r4_every_release_runs_once_in_a_fully_static_program_too() {
    stress(&mut Command::new(build("stress-static", Link::Static)), "2", "2");
}

/// Runs a program under one of valgrind's tools, with its own malloc left out of it: what happens, and
/// what happens without. Skipped, by name, where there is no valgrind.
fn valgrind(folder_name: &str, source: &Path, options: &[&str]) -> Option<(Outcome, Outcome)> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("{folder_name}: skipped: there is no valgrind here");
        return None;
    }
    let program = compile(source, &folder(folder_name).join("program"), Link::Shared).run();
    let plain = run(&mut Command::new(&program));
    assert_eq!(plain.status, 0, "{}", plain.stderr);
    let mut command = Command::new("valgrind");
    command.args(["-q", "--error-exitcode=99", "--fair-sched=yes"]).args(options);
    // Or valgrind puts its own malloc in place of every object's.
    command.arg("--soname-synonyms=somalloc=nouserintercepts");
    Some((support::run_for(command.arg(program), 300), plain))
}

/// memcheck watches glibc's allocator below the library and leaves the library's own entry points alone.
fn memcheck(folder_name: &str, source: &Path) {
    if let Some((watched, plain)) = valgrind(folder_name, source, &["--leak-check=full"]) {
        assert_eq!(watched, Outcome { status: 0, stdout: plain.stdout, stderr: String::new() });
    }
}

/// helgrind watches the program's callbacks; the library itself is suppressed, for the reason that the file
/// gives.
fn helgrind(folder_name: &str, source: &Path) -> Option<Outcome> {
    let reasons = root().join("tests/valgrind/helgrind.supp");
    let reasons = format!("--suppressions={}", reasons.display());
    valgrind(folder_name, source, &["--tool=helgrind", &reasons]).map(|(watched, _)| watched)
}

#[test]
fn helgrind_finds_no_race_in_callbacks_that_are_right() {
    for name in ["accounting", "swapchain"] {
        let source = root().join(format!("examples-c/{name}.c"));
        if let Some(watched) = helgrind(&format!("helgrind-{name}"), &source) {
            assert_eq!((watched.status, watched.stderr.as_str()), (0, ""), "{name}");
        }
    }
}

#[test]
fn helgrind_finds_a_race_in_a_callback_that_is_wrong() {
    let source = root().join("tests/c/valgrind_race.c");
    if let Some(watched) = helgrind("helgrind-race", &source) {
        assert_eq!(watched.status, 99);
        assert!(watched.stderr.contains("racy_count"), "{}", watched.stderr);
    }
}

macro_rules! memcheck {
    ($($test:ident: $source:literal;)*) => {$(
        #[test]
        fn $test() {
            memcheck(stringify!($test), &root().join($source));
        }
    )*};
}

memcheck! {
    memcheck_accounting: "examples-c/accounting.c";
    memcheck_blocks_of_nobody: "tests/c/r6_blocks_of_nobody.c";
    memcheck_eight_byte_pointers: "tests/c/r6_eight_byte_pointers.c";
    memcheck_in_callbacks: "tests/c/r6_in_callbacks.c";
}
