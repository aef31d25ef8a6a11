//! What the library calls of others, and when: an object that interposes a function may allocate in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use support::{Link, Outcome, compile, dist, folder, library, root, run, tool};

/// The functions that `link_interposed.c` interposes, in the order of their numbers.
const FUNCTIONS: [&str; 15] = [
    "memcpy",
    "memmove",
    "memset",
    "memcmp",
    "strlen",
    "strnlen",
    "memmem",
    "getenv",
    "getauxval",
    "__errno_location",
    "dl_iterate_phdr",
    "sysconf",
    "mmap",
    "open",
    "write",
];

#[test]
fn functions_that_others_interpose_may_allocate() {
    let folder = folder("interposed");
    let source = root().join("tests/c/link_interposed.c");
    let program =
        compile(&source, &folder.join("program"), Link::None).arg("-DPROGRAM").arg("-fno-builtin").run();
    let library = library();
    let tools = ["", "usage", "trace=trace.out", "trace=binary.out,binary", "check", "fail=above:1G"];
    for (number, function) in FUNCTIONS.iter().enumerate() {
        let object = compile(&source, &folder.join(format!("{function}.so")), Link::None)
            .args(["-shared", "-fPIC", "-fno-builtin", "-O0"])
            .arg(format!("-DFUNCTION={number}"))
            .run();
        for preload in [[&object, &library], [&library, &object]] {
            let preload = preload.map(|path| path.display().to_string()).join(":");
            for words in tools {
                let mut command = Command::new(&program);
                command.current_dir(&folder).env("LD_PRELOAD", &preload);
                if !words.is_empty() {
                    command.env("MEMHOOK", words);
                }
                let Outcome { status, stdout, stderr } = run(&mut command);
                let told = (status, stdout.as_str());
                assert_eq!(told, (0, "597 rounds, and one refused\n"), "{words}, {preload}: {stderr}");
            }
        }
    }
}

/// The symbols that a file leaves undefined, without their versions.
fn undefined(options: &[&str], file: &Path) -> Vec<String> {
    let output = Command::new(tool("nm")).args(options).arg(file).output().expect("nm runs");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("names");
    let name = |line: &str| match *line.split_whitespace().collect::<Vec<_>>() {
        ["U" | "w" | "v", name] => Some(name.split('@').next().unwrap_or(name).to_owned()),
        _ => None,
    };
    let mut names: Vec<String> = text.lines().filter_map(name).collect();
    names.sort();
    names.dedup();
    names
}

/// What a section of `tests/abi/undefined.txt` says: each symbol and when it may be called.
fn listed(section: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("tests/abi/undefined.txt")).expect("the list");
    let lines = text.lines().skip_while(|line| *line != section).skip(1);
    let entry = |line: &str| {
        let (name, when) = line.split_once(": ").unwrap_or_else(|| panic!("{line}: no phrase"));
        (name.to_owned(), when.to_owned())
    };
    lines.take_while(|line| !line.starts_with('#')).filter(|line| !line.is_empty()).map(entry).collect()
}

#[test]
fn undefined_symbols_are_listed_with_when_they_are_called() {
    if !cfg!(target_arch = "x86_64") || support::is_emulated() {
        println!("skipped: the list is x86-64's");
        return;
    }
    let [both, shared, archive] =
        ["# Both libraries", "# libmemhook.so.0 only", "# libmemhook.a only"].map(listed);
    let with = |more: &BTreeMap<String, String>| {
        let mut names: Vec<String> = both.keys().chain(more.keys()).cloned().collect();
        names.sort();
        names
    };
    assert_eq!(undefined(&["-D", "--undefined-only"], &library()), with(&shared));
    assert_eq!(undefined(&["-u"], &dist().join("lib/libmemhook.a")), with(&archive));
    // The functions that may be called before the backend is known: none that an object interposes.
    for (name, when) in both.iter().chain(&shared).chain(&archive) {
        let early = when.starts_with("before the backend is known");
        assert!(!early || when.ends_with("no function"), "{name}: {when}");
    }
}

#[test]
fn own_copies_of_memory_functions_are_right() {
    let folder = folder("bytes");
    let machine = if cfg!(target_arch = "x86_64") && !support::is_emulated() { "x86_64" } else { "aarch64" };
    let text = root().join(format!("src/sys/bytes_{machine}.s"));
    let syntax = if machine == "x86_64" { ".intel_syntax noprefix\n" } else { "" };
    let own = folder.join("own.s");
    let include =
        format!("{syntax}.include \"{}\"\n.section .note.GNU-stack,\"\",%progbits\n", text.display());
    fs::write(&own, include).expect("writable");
    let program = compile(&root().join("tests/c/link_bytes.c"), &folder.join("program"), Link::None)
        .arg("-fno-builtin")
        .arg(&own)
        .run();
    let outcome = run(&mut Command::new(program));
    assert_eq!(outcome, Outcome { status: 0, stdout: "all right\n".into(), stderr: String::new() });
}
