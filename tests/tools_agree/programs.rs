//! Real programs under each tool and under all: they say what they say without.

use memhook_trace::Trace;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{folder, input, is_installed, library, root, run_for, shell};

/// The files in a folder whose names begin so.
fn files(folder: &Path, begin: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(begin)).collect()
}

/// Runs it without tools, with each, and with all; then nothing but its output is the same.
fn program(name: &str, command: &dyn Fn(&Path) -> Command) {
    if !is_installed(name) {
        return;
    }
    let ran = |kind: &str, words: &str| {
        let [out, place] = ["out", "place"].map(|part| folder(&format!("programs-{name}-{kind}-{part}")));
        // The program's own folder has the same name each time.
        let own = place.parent().unwrap().join(format!("programs-{name}"));
        let _ = fs::remove_dir_all(&own);
        fs::create_dir(&own).unwrap();
        let mut command = command(&own);
        command.current_dir(&own).env("HOME", &own).env("PYTHONMALLOC", "malloc").env("PYTHONHASHSEED", "0");
        // As many variables in each run.
        command.env("LD_PRELOAD", if kind == "plain" { PathBuf::new() } else { library() });
        command.env("MEMHOOK", words.replace("OUT", out.to_str().unwrap()));
        (run_for(&mut command, 300), out)
    };
    let (plain, _) = ran("plain", "");
    assert!(plain.stdout.len() > 10, "{name}: {plain:?}");
    let tools = [
        ("usage", "usage=file:OUT/usage.%p"),
        ("trace", "trace=OUT/trace.%p,binary,unwind:8"),
        ("check", "check=report,frames:4"),
        ("fail", "fail=nth:1000000000000,from:libc"),
    ];
    let all = tools.map(|(_, words)| words).join(" ");
    for (kind, words) in tools.into_iter().chain([("all", all.as_str())]) {
        let (outcome, out) = ran(kind, words);
        assert_eq!(outcome, plain, "{name} under {kind}");
        let reports = files(&out, "usage.");
        let calls: u64 = files(&out, "trace.")
            .iter()
            .map(|path| {
                let trace = Trace::open(path).unwrap();
                assert_eq!(trace.damage(), [], "{}", path.display());
                trace.count()
            })
            .sum();
        assert_eq!(!reports.is_empty(), words.contains("usage="), "{name} under {kind}");
        assert_eq!(calls > 1000, words.contains("trace="), "{name} under {kind}: {calls}");
        println!("{name} under {kind}: same output; {} reports, {calls} calls traced", reports.len());
    }
}

#[test]
fn python() {
    let code = "import json, subprocess, threading\n\
        work = lambda: [json.dumps(list(range(300))) for _ in range(60)]\n\
        threads = [threading.Thread(target=work) for _ in range(4)]\n\
        [t.start() for t in threads]; [t.join() for t in threads]\n\
        print(sum(len(json.dumps(i)) for i in range(3000)), subprocess.check_output(['echo', 'child']))";
    program("python3", &|_| {
        let mut command = Command::new("python3");
        command.args(["-c", code]);
        command
    });
}

#[test]
fn git() {
    program("git", &|_| {
        let mut command = Command::new("sh");
        command.arg(input("repository.sh")).arg("6");
        command
    });
}

#[test]
fn gcc() {
    let source = root().join("tests/c/check_faults.c");
    program("gcc", &|_| shell(&format!("gcc -O2 -g -c -o out.o {} && cksum < out.o", source.display())));
}

#[test]
fn sqlite() {
    let script = fs::read_to_string(input("inserts.sql")).unwrap().replace("@ROWS@", "3000");
    program("sqlite3", &|folder| {
        fs::write(folder.join("script.sql"), &script).unwrap();
        let mut command = Command::new("sqlite3");
        command.args(["-batch", "base.db"]).arg(".read script.sql");
        command
    });
}
