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

#[test]
fn r4_every_release_runs_once_in_a_fully_static_program_too() {
    stress(&mut Command::new(build("stress-static", Link::Static)), "2", "2");
}

/// Runs a program under memcheck, which watches glibc's allocator below the library and leaves the
/// library's own entry points alone. Skipped, by name, where there is no valgrind.
fn memcheck(folder_name: &str, source: &Path) {
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("{folder_name}: skipped: there is no valgrind here");
        return;
    }
    let program = compile(source, &folder(folder_name).join("program"), Link::Shared).run();
    let plain = run(&mut Command::new(&program));
    let mut command = Command::new("valgrind");
    command.args(["-q", "--error-exitcode=99", "--leak-check=full", "--fair-sched=yes"]);
    // Or valgrind puts its own malloc in place of every object's.
    command.arg("--soname-synonyms=somalloc=nouserintercepts");
    let watched = run(command.arg(program));
    assert_eq!(plain.status, 0, "{}", plain.stderr);
    assert_eq!(watched, Outcome { status: 0, stdout: plain.stdout, stderr: String::new() });
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
