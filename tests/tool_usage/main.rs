//! The tool `usage`, beside the libmemusage that it replaces: the same report line by line where that one is right,
//! and the right one where it is not.

mod beside;
mod own;

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use support::{Link, Outcome, compile, folder, library, library_folders, root, run};

/// libmemusage.so of the C library, where it is installed.
fn libmemusage() -> Option<PathBuf> {
    let found = library_folders().iter().map(|f| f.join("libmemusage.so")).find(|file| file.exists());
    if found.is_none() {
        println!("skipped: libmemusage.so is not installed");
    }
    found
}

fn find(program: &str) -> Option<PathBuf> {
    // The system's own first: others may be scripts that choose one of several.
    let path = format!("/usr/bin:/bin:{}", env::var("PATH").unwrap_or_default());
    let found = env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    if found.is_none() {
        println!("skipped: {program} is not installed");
    }
    found
}

/// A program of tests/c that knows nothing of the library.
fn program(name: &'static str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<&str, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().expect("no test panics while it compiles");
    let build = || {
        let source = root().join(format!("tests/c/{name}.c"));
        // Whoever asks for a block gets it: the compiler is not to leave calls out.
        compile(&source, &folder(&format!("usage-program/{name}")).join(name), Link::None)
            .args(["-fno-builtin"])
            .run()
    };
    built.entry(name).or_insert_with(build).clone()
}

/// Without colours.
fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or("").to_owned();
    first + &parts.map(|part| part.split_once('m').map_or("", |(_, rest)| rest)).collect::<String>()
}

/// What libmemusage says too, without its stack peak.
fn same_part(report: &str) -> String {
    let ours =
        ["Beyond libmemusage:", "aligned|", " in use|", " mapped|", "   peak|", "  taken|", "   size|"];
    let lines = report.lines().filter(|line| !ours.iter().any(|ours| line.starts_with(ours)));
    lines.map(|line| line.split(", stack peak").next().unwrap_or("").to_owned() + "\n").collect()
}

/// A report, read.
#[derive(Debug)]
struct Report<'a>(&'a str);

impl Report<'_> {
    fn summary(&self, what: &str) -> u64 {
        let line = self.0.lines().find(|line| line.starts_with("Memory usage summary")).expect("a summary");
        let rest = line.split(&format!("{what}: ")).nth(1).expect("the number");
        rest.split(',').next().unwrap().parse().expect("a number")
    }

    /// Calls, bytes, failed calls.
    fn row(&self, name: &str) -> Vec<u64> {
        let line = self.0.lines().find_map(|line| line.trim_start().strip_prefix(&format!("{name}|")));
        let words = line.unwrap_or_else(|| panic!("no {name} in\n{}", self.0)).split_whitespace();
        words.map_while(|word| word.parse().ok()).collect()
    }
}

fn usage(words: &str, command: &mut Command) -> Outcome {
    run(command.env("LD_PRELOAD", library()).env("MEMHOOK", words))
}
