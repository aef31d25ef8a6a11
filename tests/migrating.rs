//! docs/MIGRATING.md: what it shows before and after compiles, and what is memhook's runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Link, Outcome, compile, folder, root, run};

/// The pieces of C in the page, in order.
fn pieces() -> Vec<String> {
    let page = fs::read_to_string(root().join("docs/MIGRATING.md")).expect("the page is there");
    page.split("```c\n").skip(1).map(|rest| rest.split("```").next().unwrap_or("").to_owned()).collect()
}

fn here(name: &str) -> PathBuf {
    root().join("tests/migrating").join(name)
}

fn write(folder: &Path, piece: &str) -> PathBuf {
    let file = folder.join("piece.c");
    fs::write(&file, piece).expect("target/tests is writable");
    file
}

#[test]
fn what_the_page_shows_compiles_and_runs() {
    // The macro that tells the driver what to do, and what it says; or only compiled, against the peer's header.
    let expected = [
        ("before glibc", Some(("GLIBC", "noted 3 of 60 bytes, forgot 0\n"))),
        ("after glibc", Some(("GLIBC", "noted 3 of 60 bytes, forgot 0\n"))),
        ("interceptor", Some(("LIMIT", "noted 1 of 2000010 bytes, forgot 0\n"))),
        ("before gperftools", None),
        ("after gperftools", Some(("GPERFTOOLS", "noted 3 of 1010 bytes, forgot 3\n"))),
        ("before jemalloc", None),
        ("after jemalloc", Some(("JEMALLOC", "noted 3 of 1010 bytes, forgot 3\n"))),
    ];
    let pieces = pieces();
    assert_eq!(pieces.len(), expected.len(), "a piece of the page that no test knows");
    for (piece, (name, said)) in pieces.iter().zip(expected) {
        let folder = folder(&format!("migrating-{}", name.replace(' ', "-")));
        let file = write(&folder, piece);
        let Some((what, said)) = said else {
            compile(&file, &folder.join("piece.o"), Link::None).arg("-c").arg("-I").arg(here("")).run();
            continue;
        };
        let object = compile(&file, &folder.join("piece.o"), Link::None).arg("-c");
        let object = if piece.contains("__malloc_hook") {
            object.arg("-include").arg("memhook/glibc.h").run()
        } else {
            object.run()
        };
        let program = compile(&here("driver.c"), &folder.join("program"), Link::Shared);
        let program = program.arg(object).arg(format!("-D{what}")).run();
        let fine = Outcome { status: 0, stdout: said.into(), stderr: String::new() };
        assert_eq!(run(&mut Command::new(program)), fine, "{name}");
    }
}
