//! What nobody should do to the library: tests/c/attack.c in every circumstance, for a moment each. `make attack` is the
//! long form.

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Link, Outcome, compile, folder, library, library_folders, root, run, run_for};

/// What is done.
const ALL: [&str; 6] = ["functions", "sessions", "hooks", "threads", "processes", "signals"];
/// How many times the program runs in all tests together.
const RUNS: f64 = 33.0;

/// Seconds for one run: of MEMHOOK_ATTACK_SECONDS in all.
fn seconds() -> f64 {
    let all = std::env::var("MEMHOOK_ATTACK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(15.0);
    all / RUNS
}

fn program(test: &str, link: Link) -> PathBuf {
    compile(&root().join("tests/c/attack.c"), &folder(test).join("attack"), link).run()
}

/// Runs an attack to its end, which must be a good one.
fn attack(command: &mut Command, what: &str, circumstance: Option<&str>) {
    let seconds = seconds();
    command
        .arg(what)
        .arg(format!("{seconds:.2}"))
        .arg((std::process::id() % 1000).to_string())
        .args(circumstance);
    let Outcome { status, stdout, stderr } = run_for(command, 60 + seconds as u64);
    if status == 77 {
        println!("skipped: {what}, {circumstance:?}: the kernel does not let this be tried");
        return;
    }
    assert_eq!(status, 0, "{command:?}: {stdout}{stderr}");
}

fn attack_all(test: &str, circumstance: Option<&str>) {
    let program = program(test, Link::Shared);
    for what in ALL {
        attack(&mut Command::new(&program), what, circumstance);
    }
}

#[test]
fn attacks() {
    attack_all("attacks", None);
}

#[test]
fn attacks_without_membarrier() {
    attack_all("attacks-membarrier", Some("membarrier"));
}

#[test]
fn attacks_without_proc() {
    attack_all("attacks-proc", Some("proc"));
}

#[test]
fn attacks_with_closed_descriptors() {
    attack_all("attacks-descriptors", Some("descriptors"));
}

#[test]
fn attacks_on_a_fully_static_program() {
    let program = program("attacks-static", Link::Static);
    attack(&mut Command::new(program), "hooks", None);
}

/// Other allocators, before and behind the library.
#[test]
fn attacks_with_other_allocators() {
    let program = program("attacks-allocators", Link::Shared);
    for name in ["libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libmimalloc.so.2"] {
        let found = library_folders().iter().map(|folder| folder.join(name)).find(|path| path.exists());
        let Some(allocator) = found else {
            println!("skipped: {name} is not installed");
            continue;
        };
        for preload in [[&library(), &allocator], [&allocator, &library()]] {
            let preload = preload.map(|path| path.display().to_string()).join(":");
            attack(Command::new(&program).env("LD_PRELOAD", preload), "hooks", None);
        }
    }
}

/// Under tools that see what the attack does.
#[test]
fn attacks_under_tools() {
    let program = program("attacks-tools", Link::Shared);
    for words in ["usage", "check"] {
        attack(Command::new(&program).env("MEMHOOK", words), "hooks", None);
    }
}

/// Each namespace costs what ARCHITECTURE.md says; where there is no room for one more, dlmopen says so.
#[test]
fn attacks_by_namespaces() {
    let folder = folder("attacks-namespaces");
    let of = |name: &str| root().join("tests/c").join(name);
    let build = |source: &str, output: &Path, link| compile(&of(source), output, link);
    let plugin = build("copies_plugin.c", &folder.join("plugin.so"), Link::Plugin).run();
    let program = build("attack_namespaces.c", &folder.join("program"), Link::None).run();
    let Outcome { status, stdout, stderr } = run(Command::new(program).arg(plugin));
    assert_eq!((status, stderr.as_str()), (0, ""), "{stdout}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines.iter().filter(|line| **line == "used and closed").count() >= 5, "{stdout}");
}
