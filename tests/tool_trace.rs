//! The tool `trace`: glibc's mtrace line by line, the binary form through its reader, and the hard moments of
//! processes.

use memhook_trace::{Event, Function, Trace, What};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use support::{
    Link, Outcome, compile, folder, is_emulated, itself, library, library_folders, root, run, run_for, shell,
    tool,
};

fn source(name: &str) -> PathBuf {
    root().join(format!("tests/c/{name}.c"))
}

/// A program that is linked with nothing, to be preloaded.
fn program(name: &str, folder: &Path, arguments: &[&str]) -> PathBuf {
    let build = compile(&source(name), &folder.join(name), Link::None);
    arguments.iter().fold(build, |build, argument| build.arg(argument)).run()
}

fn preloaded(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("LD_PRELOAD", library()).current_dir(folder);
    command
}

fn debug_library() -> Option<PathBuf> {
    let found = library_folders().iter().map(|f| f.join("libc_malloc_debug.so.0")).find(|file| file.exists());
    if found.is_none() {
        println!("skipped: libc_malloc_debug.so.0 is not installed");
    }
    found
}

fn mtrace_script() -> Option<&'static Path> {
    let found = Some(Path::new("/usr/bin/mtrace")).filter(|script| script.exists());
    if found.is_none() {
        println!("skipped: the mtrace script is not installed");
    } else if support::is_emulated() {
        // It asks addr2line about objects by the names under which the program saw them.
        println!("skipped: the mtrace script would find this machine's objects");
        return None;
    }
    found
}

/// What the mtrace script says of a trace.
fn script(script: &Path, program: &Path, trace: &Path) -> String {
    let outcome = run(Command::new(script).arg(program).arg(trace).current_dir(trace.parent().unwrap()));
    assert_eq!(outcome.stderr, "");
    outcome.stdout
}

/// A text without the addresses of blocks: each process has its own. Those are the words behind a sign.
fn without_addresses(text: &str) -> String {
    let mut shown = String::new();
    for line in text.lines() {
        let mut is_block = false;
        for word in line.split(' ') {
            shown += if is_block && word.starts_with("0x") { "block" } else { word };
            shown += " ";
            is_block = ["+", "-", "<", ">", "!"].contains(&word);
        }
        shown += "\n";
    }
    shown
}

/// The same lines, the same leaks, and the same file whatever the program is linked like.
#[test]
fn lines_are_those_of_glibcs_mtrace() {
    let Some(debug) = debug_library() else { return };
    for (kind, arguments) in [
        ("pie", &["-fPIE", "-pie"][..]),
        ("fixed", &["-no-pie"]),
        ("named", &["-no-pie", "-rdynamic"]),
        ("stopped", &["-rdynamic", "-DSTOP"]),
    ] {
        let folder = folder(&format!("trace-lines-{kind}"));
        let plugin = folder.join("libplugin.so");
        compile(&source("trace_lines"), &plugin, Link::None)
            .arg("-shared")
            .arg("-fPIC")
            .arg("-DPLUGIN")
            .run();
        let rpath = format!("-Wl,-rpath,{}", folder.display());
        let all = [arguments, &[plugin.to_str().unwrap(), &rpath]].concat();
        program("trace_lines", &folder, &all);
        let trace = |preload: &Path, name: &str| {
            let path = folder.join(name);
            let mut command = Command::new("./trace_lines");
            command.env("LD_PRELOAD", preload).env("MALLOC_TRACE", &path).current_dir(&folder);
            let outcome = run(&mut command);
            let said = "a buffer of the C library\n";
            assert_eq!(outcome, Outcome { status: 0, stdout: said.into(), stderr: String::new() });
            (fs::read_to_string(&path).unwrap(), path)
        };
        let (theirs, their_path) = trace(&debug, "theirs");
        let (ours, our_path) = trace(&library(), "ours");
        let (short_theirs, short_ours) = (without_addresses(&theirs), without_addresses(&ours));
        let differs = short_theirs.lines().zip(short_ours.lines()).position(|(left, right)| left != right);
        assert_eq!(differs.map(|n| (short_theirs.lines().nth(n), short_ours.lines().nth(n))), None, "{kind}");
        assert_eq!(short_theirs, short_ours, "{kind}");
        assert!(ours.contains("libplugin.so:(plugin_make+"), "{kind}");
        if let Some(path) = mtrace_script() {
            let leaks = |trace: &Path| -> Vec<String> {
                let said = script(path, Path::new("./trace_lines"), trace);
                let mut lines: Vec<String> =
                    said.lines().map(|line| line.get(18..).unwrap_or(line).to_owned()).collect();
                // By address.
                lines.sort();
                lines
            };
            let (left, right) = (leaks(&their_path), leaks(&our_path));
            assert_eq!(left, right, "{kind}");
            assert!(left.iter().any(|line| line.contains("trace_lines.c:")), "{kind}: {left:?}");
        }
    }
}

/// The same program linked with the library, shared and as an archive, instead of being preloaded.
#[test]
fn an_old_program_is_relinked() {
    for link in [Link::Shared, Link::Archive, Link::Static] {
        let folder = folder(&format!("trace-relinked-{link:?}"));
        let build = compile(&source("trace_threads"), &folder.join("program"), link);
        let program = build.run();
        let path = folder.join("trace");
        let outcome = run(Command::new(&program).env("MALLOC_TRACE", &path).current_dir(&folder));
        assert_eq!(
            (outcome.status, outcome.stdout.as_str(), outcome.stderr.as_str()),
            (0, "done\n", ""),
            "{link:?}"
        );
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("= Start\n") && text.ends_with('\n') && text.lines().count() > 100_000,
            "{link:?}"
        );
        if let Some(path_of_script) = mtrace_script() {
            let said = script(path_of_script, &program, &path);
            // What the thread library keeps is allocated by calls that are traced.
            let false_lines =
                said.lines().filter(|line| line.starts_with(['+', '-']) && !line.starts_with("--"));
            assert_eq!(false_lines.collect::<Vec<_>>(), [""; 0], "{link:?}");
        }
    }
}

#[test]
fn threads_give_no_false_line() {
    let Some(path_of_script) = mtrace_script() else { return };
    let folder = folder("trace-threads");
    let program = program("trace_threads", &folder, &[]);
    let path = folder.join("trace");
    let outcome = run(preloaded(&program, &folder).env("MALLOC_TRACE", &path));
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let said = script(path_of_script, &program, &path);
    let is_false = |line: &&str| line.contains("Alloc") || line.contains("Free") || line.contains("Realloc");
    assert_eq!(said.lines().filter(is_false).collect::<Vec<_>>(), [""; 0]);
    // The program itself leaves nothing; the thread library keeps what its threads had.
    let own = |line: &&str| line.contains("trace_threads");
    assert_eq!(said.lines().filter(own).collect::<Vec<_>>(), [""; 0]);
    if let Some(debug) = debug_library() {
        let path = folder.join("theirs");
        run(Command::new(&program).env("LD_PRELOAD", debug).env("MALLOC_TRACE", &path).current_dir(&folder));
        let said = script(path_of_script, &program, &path);
        println!("glibc's own mtrace: {} false lines", said.lines().filter(is_false).count());
    }
}

/// What the reader makes of a binary trace: checks that it holds together.
fn read(path: &Path) -> (Trace, Vec<Event>) {
    let trace = Trace::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(trace.damage(), [], "{}", path.display());
    let events: Vec<Event> = trace.events().collect();
    assert_eq!(events.len() as u64, trace.count());
    (trace, events)
}

/// How often a block of this size was made, and how often one was freed.
fn made(events: &[Event], size: u64) -> (usize, usize) {
    let mut alive = HashSet::new();
    let mut counts = (0, 0);
    for event in events {
        match event.what {
            What::Made { block: Some(block), requested, .. } if requested == size => {
                counts.0 += 1;
                alive.insert(block);
            }
            What::Freed { block, .. } if alive.remove(&block) => counts.1 += 1,
            _ => {}
        }
    }
    counts
}

/// Blocks that are made while they are there, or go while they are not, though they were made in the trace.
fn contradictions(events: &[Event]) -> Vec<String> {
    let mut alive = HashMap::new();
    let mut wrong = Vec::new();
    for event in events {
        let (old, new) = match event.what {
            What::Made { block, .. } | What::ReallocDone { block, .. } => (None, block),
            What::Freed { block, .. } | What::ReallocBegins { block, .. } => (Some(block), None),
            What::ReallocFailed { old, .. } => (None, Some(old)),
        };
        if let Some(block) = new
            && alive.insert(block, true) == Some(true)
        {
            wrong.push(format!("made twice: {event:?}"));
        }
        if let Some(block) = old
            && alive.insert(block, false) == Some(false)
        {
            wrong.push(format!("freed twice: {event:?}"));
        }
    }
    wrong
}

#[test]
fn binary_form_tells_everything() {
    let folder = folder("trace-binary");
    let program = program("trace_process", &folder, &["-no-pie"]);
    let outcome =
        run(preloaded(&program, &folder).arg("make").arg("1234").env("MEMHOOK", "trace=t.%e.%p,binary"));
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let paths = traces(&folder, "t.trace_process.");
    let [path] = &paths[..] else { panic!("{paths:?}") };
    let (trace, events) = read(path);
    let head = trace.head().expect("a head");
    assert!(head.is_finished && !head.is_fork_child && head.missing == 0, "{head:?}");
    assert_eq!(head.executable, fs::canonicalize(itself(&program)).unwrap());
    assert_eq!(path.extension().unwrap().to_str().unwrap(), head.pid.to_string());
    assert_eq!(made(&events, 1234), (100, 100));
    let event = events.iter().find(|e| matches!(e.what, What::Made { requested: 1234, .. })).expect("made");
    assert_eq!((event.function, event.tid, event.thread != 0), (Function::Malloc, head.pid, true));
    let module = trace.module(event.callers[0], event.ticks).expect("the program");
    assert_eq!(module.path, head.executable);
    // The symbol and the build-id as the tools of the system find them.
    let nm = run(Command::new(tool("nm")).arg("-n").arg(itself(&program))).stdout;
    let symbols = nm.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((u64::from_str_radix(words.next()?, 16).ok()?, words.nth(1)?))
    });
    let address = event.callers[0] - module.base;
    let around = symbols.take_while(|&(start, _)| start <= address).last().map(|(_, name)| name);
    assert_eq!(around, Some("make"));
    let notes = run(Command::new(tool("readelf")).arg("-n").arg(itself(&program))).stdout;
    let id: String = module.build_id.iter().map(|byte| format!("{byte:02x}")).collect();
    // qemu has no process_vm_readv(2), by which it is read.
    assert!((support::is_emulated() || !id.is_empty()) && notes.contains(&id), "{id}\n{notes}");
    // Times go up, and are of this run.
    assert!(events.windows(2).all(|two| two[0].time_ns <= two[1].time_ns));
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a live timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let now = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
    assert!(event.time_ns < now && now - event.time_ns < 60_000_000_000, "{} {now}", event.time_ns);
    assert_eq!(contradictions(&events), [""; 0]);
}

/// The kernel tells less of a process whose first thread has ended.
#[test]
fn binary_form_tells_of_objects_after_the_first_threads_end() {
    let folder = folder("trace-first-thread");
    let program = program("trace_process", &folder, &[]);
    let mut command = preloaded(&program, &folder);
    let outcome = run(command.arg("after_the_first_thread").env("MEMHOOK", "trace=t,binary"));
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let (trace, events) = read(&folder.join("t"));
    assert_eq!(made(&events, 1234), (100, 100));
    let event = events.iter().find(|e| matches!(e.what, What::Made { requested: 1234, .. })).expect("made");
    let module = trace.module(event.callers[0], event.ticks).expect("the program");
    assert_eq!(module.path, fs::canonicalize(itself(&program)).unwrap());
    assert!(support::is_emulated() || !module.build_id.is_empty());
}

#[test]
fn binary_form_orders_threads() {
    let folder = folder("trace-binary-threads");
    let program = program("trace_threads", &folder, &[]);
    let outcome = run(preloaded(&program, &folder).env("MEMHOOK", "trace=t,binary"));
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let (trace, events) = read(&folder.join("t"));
    assert!(
        events.len() > 200_000 && trace.threads() >= 5,
        "{} events, {} threads",
        events.len(),
        trace.threads()
    );
    assert_eq!(contradictions(&events), [""; 0]);
    // Text and binary of the same run count the same.
    let words = "trace=both.text trace=both.binary,binary";
    run(preloaded(&program, &folder).env("MEMHOOK", words));
    let (_, events) = read(&folder.join("both.binary"));
    let text = fs::read_to_string(folder.join("both.text")).unwrap();
    let lines = |sign: &str| text.lines().filter(|line| line.contains(sign)).count();
    let of = |test: &dyn Fn(&What) -> bool| events.iter().filter(|event| test(&event.what)).count();
    assert_eq!(lines("] + "), of(&|what| matches!(what, What::Made { .. })));
    assert_eq!(lines("] - "), of(&|what| matches!(what, What::Freed { .. })));
    assert_eq!(lines("] < "), of(&|what| matches!(what, What::ReallocBegins { .. })));
    assert_eq!(lines("] > "), of(&|what| matches!(what, What::ReallocDone { .. })));
}

/// The functions of a program, by their first addresses.
fn functions(program: &Path) -> Vec<(u64, String)> {
    let nm = run(Command::new(tool("nm")).arg("-n").arg(itself(program))).stdout;
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let start = u64::from_str_radix(words.next()?, 16).ok()?;
        words.next()?.eq_ignore_ascii_case("t").then(|| Some((start, words.next()?.to_owned())))?
    };
    nm.lines().filter_map(parse).collect()
}

/// Callers of callers: by frame pointers and by unwind tables, in main and in threads. On other stacks, and where
/// there are no frame pointers, the caller only.
#[test]
fn stacks_are_walked() {
    for (how, arguments, word, is_whole) in [
        ("pointers", &["-O2", "-fno-omit-frame-pointer"][..], "frames:12", true),
        ("pointers-pie", &["-O1", "-fno-omit-frame-pointer", "-fPIE", "-pie"], "frames:12", true),
        ("none", &["-O2", "-fomit-frame-pointer"], "frames:12", false),
        ("tables", &["-O2", "-fomit-frame-pointer"], "unwind:12", true),
        ("tables-O0", &["-O0"], "unwind:12", true),
    ] {
        let folder = folder(&format!("trace-stack-{how}"));
        let arguments = [arguments, &["-fno-optimize-sibling-calls", "-fno-ipa-sra", "-fno-inline"]].concat();
        let program = program("trace_stack", &folder, &arguments);
        let outcome = run(preloaded(&program, &folder).env("MEMHOOK", format!("trace=t,binary,{word}")));
        assert_eq!(
            (outcome.status, outcome.stdout.as_str(), outcome.stderr.as_str()),
            (0, "done\n", ""),
            "{how}"
        );
        let (trace, events) = read(&folder.join("t"));
        let functions = functions(&program);
        let name = |address: u64, ticks: u64| {
            let module =
                trace.module(address, ticks).filter(|module| module.path.ends_with("trace_stack"))?;
            let at = functions.partition_point(|(start, _)| *start < address - module.base);
            Some(functions[at.checked_sub(1)?].1.split('.').next()?.to_owned())
        };
        let stacks = |size: u64| -> Vec<Vec<String>> {
            let of_size = events
                .iter()
                .filter(|event| matches!(event.what, What::Made { requested, .. } if requested == size));
            of_size.map(|event| event.callers.iter().map_while(|&a| name(a, event.ticks)).collect()).collect()
        };
        let whole = ["inner", "middle", "middle", "middle", "outer"];
        let with = |last: &'static str| [&whole[..], &[last]].concat();
        let short = vec!["inner"];
        let expect = |long: Vec<&'static str>| if is_whole { long } else { short.clone() };
        for (size, times, expected) in [
            (3001, 4, expect(with("main"))),
            (3002, 3, expect(with("thread"))),
            (3003, 1, vec!["inner"]),
            (3004, 6, vec!["inner"]),
            (3005, 1, expect(with("compare"))),
            (3006, 1, vec!["inner"]),
            (3007, 1, expect(with("coroutine_thread"))),
            (3008, 1, expect(with("thread"))),
        ] {
            let found = stacks(size);
            assert_eq!(found.len(), times, "{how} {size}");
            for stack in found {
                // What is behind main by the tables is the program's beginning.
                let stack: Vec<_> =
                    stack.iter().map(String::as_str).filter(|name| *name != "_start").collect();
                assert_eq!(stack, expected, "{how} {size}");
            }
        }
        // Through the C library's qsort to main: it has tables, and no frame pointers.
        if word.starts_with("unwind") {
            let event = events.iter().find(|e| matches!(e.what, What::Made { requested: 3005, .. })).unwrap();
            let names: Vec<_> = event.callers.iter().map(|&address| name(address, event.ticks)).collect();
            assert!(names.contains(&Some("main".into())) && names.contains(&None), "{how}: {names:?}");
        }
    }
}

/// The files in a folder whose names begin so.
fn traces(folder: &Path, begin: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> =
        all.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(begin)).collect();
    all.sort();
    all
}

/// How many blocks of each size up to 4095 bytes a trace of either form shows, of 1000 and more.
fn sizes(path: &Path) -> Vec<(u64, usize)> {
    let mut counts = std::collections::BTreeMap::new();
    let bytes = fs::read(path).unwrap();
    if bytes.starts_with(b"MHTR") {
        for event in read(path).1 {
            if let What::Made { requested, .. } = event.what {
                *counts.entry(requested).or_insert(0) += 1;
            }
        }
    } else {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        for line in text.trim_end_matches('\0').lines() {
            assert!(line.starts_with("= ") || line.starts_with("@ "), "{}: {line:?}", path.display());
            if let Some((_, size)) = line.split_once(" + ").and_then(|(_, rest)| rest.split_once(" 0x")) {
                *counts.entry(u64::from_str_radix(size, 16).expect("a size")).or_insert(0) += 1;
            }
        }
    }
    // The C library's own are of other sizes.
    counts.into_iter().filter(|&(size, count)| (1000..4096).contains(&size) && count >= 100).collect()
}

/// Runs `trace_process` under a word and returns what each file shows, in the order of the files' names.
fn process(name: &str, word: &str, arguments: &[&str]) -> (PathBuf, Outcome, Vec<Vec<(u64, usize)>>) {
    let folder = folder(&format!("trace-{name}"));
    let program = program("trace_process", &folder, &[]);
    let outcome = run(preloaded(&program, &folder).args(arguments).env("MEMHOOK", word));
    let shown =
        traces(&folder, "t").iter().filter(|path| **path != program).map(|path| sizes(path)).collect();
    (folder, outcome, shown)
}

/// Each process its own file; nothing twice, nothing overwritten.
#[test]
fn every_process_has_a_file_of_its_own() {
    for (form, word) in
        [("text", "trace=t.text"), ("binary", "trace=t.bin,binary"), ("pid", "trace=t.%p,binary")]
    {
        for (what, expected) in [
            ("fork", vec![vec![(1001, 200)], vec![(1002, 200)], vec![(1003, 1100)]]),
            ("underscore", vec![vec![(1001, 200)], vec![(1002, 100)]]),
            // A vfork child is its parent until it calls exec.
            ("vfork", vec![vec![(1001, 200), (1002, 100)], vec![(1003, 100)]]),
            ("exec", vec![vec![(1001, 100)], vec![(1002, 100)]]),
            ("execs", vec![vec![(1001, 100)], vec![(1002, 100)], vec![(1003, 100)]]),
        ] {
            let (folder, outcome, mut shown) = process(&format!("{what}-{form}"), word, &[what]);
            assert_eq!(
                (outcome.status, outcome.stdout.trim_end_matches("done\n"), outcome.stderr.as_str()),
                (0, "", ""),
                "{form} {what}"
            );
            shown.sort();
            assert_eq!(shown, expected, "{form} {what}: {:?}", traces(&folder, "t."));
            if (form, what) == ("text", "exec") {
                // What the first program had readied and not used is gone, but for a mark.
                let first = fs::read(folder.join("t.text")).unwrap();
                assert!(first.ends_with(b"\n\0"), "{} bytes", first.len());
            }
        }
    }
}

/// A program that is run again overwrites its trace, as with glibc; one that runs at the same time does not.
#[test]
fn only_what_is_finished_is_overwritten() {
    let folder = folder("trace-again");
    let program = program("trace_process", &folder, &[]);
    for size in ["1001", "1002"] {
        let outcome = run(preloaded(&program, &folder).args(["make", size]).env("MEMHOOK", "trace=t"));
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
        assert_eq!(traces(&folder, "t").len(), 2);
        assert_eq!(sizes(&folder.join("t")), [(size.parse().unwrap(), 100)]);
    }
    // A shell starts it while it is traced itself.
    let shell = "./trace_process make 1003 && ./trace_process make 1004";
    let outcome = run(preloaded(Path::new("/bin/sh"), &folder).args(["-c", shell]).env("MEMHOOK", "trace=t"));
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    let mut shown: Vec<_> = traces(&folder, "t.").iter().map(|path| sizes(path)).collect();
    shown.sort();
    assert_eq!(shown, [vec![(1003, 100)], vec![(1004, 100)]], "{:?}", traces(&folder, "t"));
    // The first free number.
    for _ in 0..3 {
        run(preloaded(&program, &folder).args(["make", "1005"]).env("MEMHOOK", "trace=n%n"));
    }
    assert_eq!(
        traces(&folder, "n").iter().map(|path| sizes(path)).collect::<Vec<_>>(),
        vec![[(1005, 100)]; 3]
    );
}

/// Nothing is lost with the process.
#[test]
fn what_a_killed_process_did_is_there() {
    for word in ["trace=t", "trace=t,binary"] {
        let (folder, outcome, shown) = process("killed", word, &["kill"]);
        assert_eq!(outcome.status, -libc::SIGKILL, "{word}: {outcome:?}");
        assert_eq!(shown, [[(2001, 30_000), (2002, 1000)]], "{word}");
        if word.contains("binary") {
            let (trace, events) = read(&folder.join("t"));
            assert_eq!(made(&events, 2001), (30_000, 30_000));
            assert!(!trace.head().expect("a head").is_finished);
        } else if let Some(path) = mtrace_script() {
            let said = script(path, &folder.join("trace_process"), &folder.join("t"));
            assert!(!said.contains("Free") && !said.contains("trace_process.c"), "{said}");
        }
    }
}

#[test]
fn a_descriptor_that_the_program_closed_is_no_longer_ours() {
    for word in ["trace=t", "trace=t,binary"] {
        let (_, outcome, shown) = process("closed", word, &["close", "own"]);
        assert_eq!(
            (outcome.status, outcome.stdout.as_str(), outcome.stderr.as_str()),
            (0, "own file: 0 bytes\n", "")
        );
        assert_eq!(shown, [[(3001, 100), (3002, 60_000)]], "{word}");
    }
}

/// Nor is the current folder the one in which a relative name was meant.
#[test]
fn a_program_that_goes_elsewhere_is_still_traced() {
    for word in ["trace=t", "trace=t,binary"] {
        let (_, outcome, mut shown) = process("moved", word, &["moves"]);
        assert_eq!((outcome.status, outcome.stdout.as_str(), outcome.stderr.as_str()), (0, "done\n", ""));
        shown.sort();
        assert_eq!(shown, [vec![(3003, 100), (3004, 60_000)], vec![(3005, 100)]], "{word}");
    }
}

/// What the program has closed is not taken for the trace, also where there is no room for a high descriptor.
#[test]
fn a_standard_descriptor_is_never_the_traces() {
    let folder = folder("trace-standard");
    program("trace_process", &folder, &[]);
    let script = "ulimit -n 100; exec env LD_PRELOAD=\"$1\" MEMHOOK=trace=t ./trace_process standard 2>&-";
    let outcome = run(shell(script).arg("sh").arg(library()).current_dir(&folder));
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "standard error is closed\n"));
    assert_eq!(sizes(&folder.join("t")), [(1001, 100)]);
}

/// Standard error may be a file, with what others wrote and write.
#[test]
fn standard_error_is_shared() {
    let folder = folder("trace-shared");
    program("trace_process", &folder, &[]);
    for (to, before) in [(">", ""), (">>", "before\n")] {
        let file = folder.join("log");
        fs::write(&file, "before\n").unwrap();
        let script =
            format!("exec env LD_PRELOAD=\"$1\" MEMHOOK=trace=/dev/stderr ./trace_process both 2{to}log");
        let outcome = run(shell(&script).arg("sh").arg(library()).current_dir(&folder));
        assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "done\n"));
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with(&format!("{before}= Start\n")), "{text}");
        let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
        assert_eq!((count("own "), count(" 0x3e9")), (100, 100), "{text}");
    }
}

/// One clear line, and the program goes on.
#[test]
fn a_file_that_cannot_be_written_is_named() {
    let folder = folder("trace-unwritable");
    let program = program("trace_process", &folder, &[]);
    let lines = support::compile(&source("trace_threads"), &folder.join("threads"), Link::None).run();
    for (path, reason) in [
        ("/no/such/folder/t", "there is no such directory"),
        ("/proc/t", "there is no such directory"),
        ("/dev/full/t", "a part of the path is no directory"),
        (".", "is a directory"),
    ] {
        let outcome =
            run(preloaded(&program, &folder).args(["make", "1001"]).env("MEMHOOK", format!("trace={path}")));
        assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "done\n"));
        assert_eq!(outcome.stderr, format!("memhook: trace: {path}: {reason}\n"));
        let outcome = run(preloaded(&lines, &folder).env("MALLOC_TRACE", path));
        assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "done\n"));
        assert_eq!(outcome.stderr, format!("memhook: mtrace: MALLOC_TRACE={path}: {reason}\n"));
    }
    // Without the variable nothing happens, as with glibc.
    let outcome = run(&mut preloaded(&lines, &folder));
    assert_eq!((outcome.status, outcome.stdout.as_str(), outcome.stderr.as_str()), (0, "done\n", ""));
}

/// A privileged process does not write where its caller says.
#[test]
fn variables_are_ignored_in_a_privileged_process() {
    let folder = folder("trace-privileged");
    let program = compile(&source("trace_threads"), &folder.join("program"), Link::Archive).run();
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(&folder, 0o777);
    let run_as_nobody = |name: &str| {
        let mut command = Command::new(&program);
        command.env("MALLOC_TRACE", folder.join(name)).env("MEMHOOK", format!("trace={name}.word"));
        command.current_dir(&folder).uid(65534).gid(65534);
        command.output()
    };
    // SAFETY: no precondition.
    let is_root = unsafe { libc::geteuid() } == 0;
    if !is_root || run_as_nobody("plain").is_err() || !folder.join("plain").exists() {
        println!("skipped: no other user can run programs here");
        return;
    }
    open(&program, 0o4755);
    let output = run_as_nobody("privileged").unwrap();
    assert_eq!((output.status.code(), output.stdout, output.stderr), (Some(0), b"done\n".into(), b"".into()));
    assert!(folder.join("plain.word").exists());
    assert_eq!(traces(&folder, "privileged"), [""; 0].map(PathBuf::from));
}

#[test]
fn words_that_are_wrong_are_refused() {
    let folder = folder("trace-words");
    let program = program("trace_process", &folder, &[]);
    let knows = "it knows: a path first, then text, binary, frames:N, unwind:N, max:BYTES";
    for (word, said) in [
        ("trace", "trace needs the path of a file: trace=PATH".to_owned()),
        ("trace=", "trace needs the path of a file: trace=PATH".into()),
        ("trace=t,fast", format!("trace does not know 'fast'; {knows}")),
        ("trace=t,max:0", format!("trace does not know 'max:0'; {knows}")),
        ("trace=t,max:1k", format!("trace does not know 'max:1k'; {knows}")),
        ("trace=t,frames:3", "trace needs binary with frames and unwind".into()),
        ("trace=t,binary,frames:64", format!("trace does not know 'frames:64'; {knows}")),
        ("trace=t%x", format!("trace does not know 't%x'; {knows}")),
    ] {
        let outcome = run(preloaded(&program, &folder).args(["make", "1001"]).env("MEMHOOK", word));
        assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "done\n"));
        assert!(
            outcome.stderr.starts_with(&format!("memhook: MEMHOOK: {said}")),
            "{word}: {}",
            outcome.stderr
        );
        assert_eq!(traces(&folder, "t").len(), 1, "{word}");
    }
}

/// The limit on the length of files, without its signal, and a disk that is full.
#[test]
fn a_full_disk_ends_the_trace_and_not_the_program() {
    let folder = folder("trace-full");
    let program = program("trace_process", &folder, &[]);
    let check = |outcome: &Outcome, path: &Path, reason: &str, most: u64| {
        assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "done\n"), "{}", outcome.stderr);
        let begin = format!("memhook: trace: {}: ", path.display());
        let lines: Vec<_> =
            outcome.stderr.lines().map(|line| line.strip_prefix(&begin).expect("the file")).collect();
        let [first, last] = &lines[..] else { panic!("{}", outcome.stderr) };
        assert_eq!(*first, format!("{reason}: what the program does from here on is not in it"));
        let missing: u64 =
            last.strip_suffix(" records are missing at its end").expect("missing").parse().unwrap();
        assert!(missing > 100_000, "{missing}");
        let length = fs::metadata(path).unwrap().len();
        assert!(length <= most && length > most / 4, "{length} of {most}");
        // What is there is whole.
        let [(4001, made)] = sizes(path)[..] else { panic!("{:?}", sizes(path)) };
        assert!(made > 1000, "{made}");
        let text = fs::read(path).unwrap();
        assert!(text.starts_with(b"MHTR") || text.ends_with(b"\n"), "{}", path.display());
    };
    for (form, name) in [("", "limit.text"), (",binary", "limit.bin")] {
        let path = folder.join(name);
        let mut command = preloaded(Path::new("/bin/sh"), &folder);
        // In blocks of 512 bytes.
        command.args(["-c", "ulimit -f 1536; unset LD_PRELOAD; LD_PRELOAD=$PRE exec ./trace_process large"]);
        command
            .env("PRE", library())
            .env("MEMHOOK", format!("trace={}{form}", path.display()))
            .env_remove("LD_PRELOAD");
        check(&run(&mut command), &path, "the limit on the size of files is reached", 1536 * 512);
    }
    on_a_disk_of("1m", &folder, |disk| {
        for form in ["", ",binary"] {
            let path = disk.join("t");
            let mut command = preloaded(&program, &folder);
            command.arg("large").env("MEMHOOK", format!("trace={}{form}", path.display()));
            check(&run(&mut command), &path, "no space left on device", 1 << 20);
            fs::remove_file(&path).unwrap();
        }
    });
}

/// Shows a new file system of this size to `test`, where one can be mounted.
fn on_a_disk_of(size: &str, folder: &Path, test: impl FnOnce(&Path) + std::panic::UnwindSafe) {
    let disk = folder.join("disk");
    fs::create_dir(&disk).unwrap();
    let how = format!("size={size}");
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &how, "none"]).arg(&disk).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        println!("skipped: no file system can be mounted here");
        return;
    }
    let result = std::panic::catch_unwind(|| test(&disk));
    let _ = Command::new("umount").arg(&disk).status();
    result.expect("a full disk");
}

/// The file that was made for it goes, and is named as it was tried; what the user had is empty and stays.
#[test]
fn a_trace_that_cannot_start_leaves_the_disk_to_the_program() {
    let folder = folder("trace-no-start");
    let program = program("trace_disk", &folder, &[]);
    on_a_disk_of("12k", &folder, |disk| {
        let mine = disk.join("mine");
        for form in ["", ",binary"] {
            for (name, tried) in [("%e.t", "trace_disk.t"), ("there", "there")] {
                fs::write(disk.join("there"), "").unwrap();
                let word = format!("trace=disk/{name}{form}");
                let outcome = run(preloaded(&program, &folder).arg(&mine).env("MEMHOOK", &word));
                let said = format!("memhook: trace: disk/{tried}: no space left on device\n");
                assert_eq!(outcome.stderr, said, "{word}");
                assert_eq!(
                    (outcome.status, outcome.stdout.as_str()),
                    (0, "wrote 8192, closed 0\n"),
                    "{word}"
                );
                let left: Vec<_> =
                    fs::read_dir(disk).unwrap().map(|file| file.unwrap().file_name()).collect();
                assert!(left.len() == 2 && left.contains(&"there".into()), "{word}: {left:?}");
                assert_eq!(fs::metadata(disk.join("there")).unwrap().len(), 0);
                fs::remove_file(&mine).unwrap();
            }
        }
    });
}

/// What it had reserved when it found no more room.
#[test]
fn a_trace_that_fills_the_disk_gives_back_what_it_does_not_need() {
    let folder = folder("trace-gives-back");
    let program = program("trace_disk", &folder, &[]);
    on_a_disk_of("600k", &folder, |disk| {
        for form in ["", ",binary"] {
            let word = format!("trace=disk/t{form}");
            let mut command = preloaded(&program, &folder);
            let outcome = run(command.arg(disk.join("mine")).arg("200000").env("MEMHOOK", &word));
            assert!(
                outcome.stderr.starts_with("memhook: trace: disk/t: no space left on device: "),
                "{outcome:?}"
            );
            assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "wrote 8192, closed 0\n"), "{word}");
            assert!(fs::metadata(disk.join("t")).unwrap().len() > 256 * 1024, "{word}");
            fs::remove_file(disk.join("t")).unwrap();
        }
    });
}

/// The pattern gives a fork child a name that nobody has looked at: what is there is another's.
#[test]
fn fork_children_follow_no_symbolic_link() {
    let folder = folder("trace-links");
    let program = program("tools_links", &folder, &[]);
    for (word, begins) in [
        ("trace=t.%p", "= Start\n"),
        ("trace=t.%p,binary", "MHTR"),
        ("trace=t", "= Start\n"),
        ("usage=file:t.%p", ""),
    ] {
        let folder = folder.join(word.replace('%', ""));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("target"), "precious").unwrap();
        let outcome = run(preloaded(&program, &folder).arg("t").env("MEMHOOK", word));
        let (child, status) = outcome.stdout.trim().split_once(' ').expect("two numbers");
        assert_eq!((outcome.status, status), (0, "0"), "{word}: {}", outcome.stderr);
        assert_eq!(fs::read_to_string(folder.join("target")).unwrap(), "precious", "{word}");
        if begins.is_empty() {
            let said = "memhook: usage: the report comes here, not into its file: it is a symbolic link\n";
            assert!(outcome.stderr.starts_with(said), "{}", outcome.stderr);
        } else {
            let text = fs::read(folder.join(format!("t.{child}.1"))).expect(word);
            assert!(text.starts_with(begins.as_bytes()), "{word}");
        }
    }
}

#[test]
fn a_file_does_not_become_longer_than_it_may() {
    for (name, word) in [("text", "trace=t,max:100000"), ("binary", "trace=t,binary,max:100000")] {
        let (folder, outcome, shown) = process(&format!("capped-{name}"), word, &["large"]);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "done\n"));
        let said = outcome.stderr.strip_prefix("memhook: trace: t: ");
        let said = said.and_then(|said| said.strip_suffix(" records are missing at its end\n"));
        let missing: usize = said.unwrap_or_else(|| panic!("{}", outcome.stderr)).parse().unwrap();
        let length = fs::metadata(folder.join("t")).unwrap().len();
        assert!(length <= 100_000 && length > 50_000, "{name}: {length}");
        let made = shown[0][0].1;
        assert!(
            made > 500 && (400_000 - 2 * made).abs_diff(missing) < 100,
            "{name}: {made} made, {missing} missing"
        );
        if name == "binary" {
            assert_eq!(read(&folder.join("t")).0.head().expect("a head").missing, missing as u64);
        }
    }
}

/// What cannot be mapped is written to; what nobody reads is refused.
#[test]
fn pipes_and_standard_error() {
    let folder = folder("trace-pipes");
    let program = program("trace_process", &folder, &[]);
    let outcome =
        run(preloaded(&program, &folder).args(["make", "1001"]).env("MEMHOOK", "trace=/dev/stderr"));
    assert_eq!(outcome.stderr.lines().filter(|line| line.contains(" 0x3e9")).count(), 100);
    assert!(outcome.stderr.starts_with("= Start\n") && outcome.stdout == "done\n");
    let pipe = folder.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let outcome = run(preloaded(&program, &folder).args(["make", "1001"]).env("MEMHOOK", "trace=pipe"));
    assert_eq!(
        (outcome.status, outcome.stderr.as_str()),
        (0, "memhook: trace: pipe: nobody reads from it\n")
    );
    let open = |options: &mut fs::OpenOptions| options.custom_flags(libc::O_NONBLOCK).open(&pipe).unwrap();
    for (form, name) in [("", "t.text"), (",binary", "t.bin")] {
        let word = format!("trace=pipe{form}");
        // With a writer of our own there is no end before the program has written.
        let mut reader = open(fs::OpenOptions::new().read(true));
        let writer = open(fs::OpenOptions::new().write(true));
        // SAFETY: a descriptor of ours; the command takes no pointer.
        unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, 0) };
        let all = thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let outcome = run(preloaded(&program, &folder).args(["make", "1002"]).env("MEMHOOK", &word));
        assert_eq!(
            (outcome.status, outcome.stdout.as_str(), outcome.stderr.as_str()),
            (0, "done\n", ""),
            "{form}"
        );
        drop(writer);
        fs::write(folder.join(name), all.join().unwrap()).unwrap();
        assert_eq!(sizes(&folder.join(name)), [(1002, 100)], "{form}");
        // A reader that goes away ends the trace and not the program.
        let mut reader = open(fs::OpenOptions::new().read(true));
        let writer = open(fs::OpenOptions::new().write(true));
        // SAFETY: as above.
        unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, 0) };
        let one = thread::spawn(move || reader.read(&mut [0]).unwrap());
        let outcome = run(preloaded(&program, &folder).arg("large").env("MEMHOOK", &word));
        assert_eq!(
            (one.join().unwrap(), outcome.status, outcome.stdout.as_str()),
            (1, 0, "done\n"),
            "{form}"
        );
        assert!(outcome.stderr.contains("pipe: nobody reads from it any more"), "{form}: {}", outcome.stderr);
        drop(writer);
    }
}

#[test]
fn traces_are_started_and_stopped_by_calls() {
    for link in [Link::Shared, Link::Archive, Link::Static] {
        let folder = folder(&format!("trace-calls-{link:?}"));
        let program = compile(&source("trace_calls"), &folder.join("program"), link).run();
        let outcome = run(Command::new(program).current_dir(&folder));
        let pipe = "memhook: trace: calls.pipe: ";
        let said = format!(
            "{pipe}nobody reads from it any more: what the program does from here on is not in it\n\
             {pipe}4 records are missing at its end\n"
        );
        assert_eq!((outcome.status, outcome.stderr), (0, said));
        assert_eq!(
            outcome.stdout,
            "\
refused: EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL ENOENT EISDIR ENAMETOOLONG
literal: 0 0 1 bytes, 0 missing; again: ESRCH
0 0 0 0 0 0 0 0 at once; one more: EBUSY
this thread: 0
a pipe with another reader: 1 before, 0 after, 4 missing
inside a callback: 1, 1 bytes
done
"
        );
        for i in 0..8 {
            let path = folder.join(format!("calls.{i}"));
            if i % 2 == 1 {
                let (trace, events) = read(&path);
                assert_eq!((made(&events, 5002), trace.head().unwrap().is_finished), ((1, 1), true));
            } else {
                let text = fs::read_to_string(&path).unwrap();
                assert!(text.ends_with("= End\n") && text.contains(" 0x138a\n"), "{text}");
            }
        }
        // qemu 7.2 does not tell fork children apart.
        for form in ["fork.0", "fork.1"].iter().filter(|_| !is_emulated()) {
            let shown: Vec<_> = traces(&folder, form).iter().map(|path| sizes(path)).collect();
            assert_eq!(shown, [[(1001, 100)], [(1002, 100)]], "{form}");
        }
        let text = fs::read_to_string(folder.join("calls.thread")).unwrap();
        assert!(text.contains(" 0x138b\n") && !text.contains(" 0x40\n"), "{text}");
        let text = fs::read_to_string(folder.join("calls.inside")).unwrap();
        assert!(
            text.contains(" 0x138d\n") && !text.contains(" 0x138e\n") && text.ends_with("= End\n"),
            "{text}"
        );
    }
}

/// A trace of a real run, damaged at random places: read without harm.
#[test]
fn damaged_and_truncated_traces() {
    let (folder, ..) = process("damaged", "trace=t,binary", &["kill"]);
    let whole = fs::read(folder.join("t")).unwrap();
    let all = Trace::read(Box::new(whole.clone())).unwrap().count();
    let mut state = 88_172_645_463_325_252u64;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % below
    };
    for round in 0..60 {
        let mut bytes = whole.clone();
        for _ in 0..=round / 4 {
            let at = draw(bytes.len());
            bytes[at] = draw(256) as u8;
        }
        if round % 3 == 0 {
            bytes.truncate(draw(whole.len()));
        }
        let trace = Trace::read(Box::new(bytes)).unwrap();
        assert_eq!(trace.events().count() as u64, trace.count());
        assert!(trace.count() <= all + 200);
    }
}

/// Real programs: the same output, and traces of all their processes that hold together.
#[test]
fn real_programs_are_traced() {
    let installed = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let python = "import json, threading, subprocess\n\
        t = [threading.Thread(target=lambda: [json.dumps(list(range(500))) for _ in range(100)]) for _ in range(4)]\n\
        [x.start() for x in t]; [x.join() for x in t]\n\
        print(sum(len(json.dumps(i)) for i in range(5000)), subprocess.check_output(['echo', 'child']))";
    let sql = "create table t(a, b); insert into t with recursive c(x) as (select 1 union all select x + 1 from c \
        where x < 5000) select x, hex(x * 7919) from c; select count(*), sum(length(b)) from t; \
        select b from t order by b desc limit 3;";
    let git = "git init -q . && for i in 1 2 3 4 5; do echo $i > f$i; git add .; \
        git -c user.name=n -c user.email=e commit -qm $i --date=2020-01-01T00:00:00Z; done; git log --format=%s%T | cat; git gc -q; git fsck";
    let gcc = "printf '#include <stdio.h>\\n#include <math.h>\\nint main(void) { return printf(\"%%f\", sin(1)); }\\n' > x.c; \
        gcc -O2 -c x.c -o x.o && cksum < x.o";
    for (name, command) in [
        ("python3", vec!["python3", "-c", python]),
        ("sqlite3", vec!["sqlite3", ":memory:", sql]),
        ("git", vec!["sh", "-c", git]),
        ("gcc", vec!["sh", "-c", gcc]),
    ] {
        if !installed(name) {
            println!("skipped: {name} is not installed");
            continue;
        }
        let run_in = |kind: &str, word: Option<&str>| {
            let folder = folder(&format!("trace-{name}-{kind}"));
            let mut process = Command::new(command[0]);
            process.args(&command[1..]).current_dir(&folder).env("HOME", &folder);
            process.env("PYTHONMALLOC", "malloc").env("GIT_COMMITTER_DATE", "2020-01-01T00:00:00Z");
            if let Some(word) = word {
                fs::create_dir(folder.parent().unwrap().join(format!("t-{name}-{kind}"))).unwrap();
                process
                    .env("LD_PRELOAD", library())
                    .env("MEMHOOK", word.replace("DIR", &format!("../t-{name}-{kind}")));
            }
            let outcome = run_for(&mut process, 120);
            (folder.parent().unwrap().join(format!("t-{name}-{kind}")), outcome)
        };
        let (_, plain) = run_in("plain", None);
        assert_eq!(plain.status, 0, "{name}: {}", plain.stderr);
        // Programs change their folders: an absolute name.
        let base = root().join("target/tests").join(std::process::id().to_string());
        for (kind, word) in
            [("text", "trace=BASE/t-NAME-text/t"), ("binary", "trace=BASE/t-NAME-binary/t,binary")]
        {
            let word = word.replace("BASE", base.to_str().unwrap()).replace("NAME", name);
            let (folder, traced) = run_in(kind, Some(&word));
            assert_eq!(traced, plain, "{name} {kind}");
            let paths = traces(&folder, "t");
            let mut lines = 0;
            for path in &paths {
                if kind != "text" {
                    let (_, events) = read(path);
                    assert_eq!(contradictions(&events), [""; 0], "{}", path.display());
                    lines += events.len();
                } else {
                    sizes(path);
                    lines += fs::read(path).unwrap().iter().filter(|&&byte| byte == b'\n').count();
                }
            }
            println!("{name:<8} {kind:<7} same output; {lines} calls in {} traces", paths.len());
            assert!(lines > 1000, "{name} {kind}: {lines}");
        }
    }
}

/// The first call comes from the C library's own start there, before its table of objects can be asked.
#[test]
fn static_programs_are_traced_from_their_first_call() {
    let folder = folder("trace_static");
    let program = compile(&source("tool_victim"), &folder.join("victim"), Link::Static).run();
    for words in ["trace=text", "trace=binary,binary,unwind:8"] {
        let outcome = run(Command::new(&program).env("MEMHOOK", words).current_dir(&folder));
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, "failed 0, first 0\n"), "{words}");
    }
    assert!(fs::read_to_string(folder.join("text")).unwrap().starts_with("= Start\n@ "));
    let (_, events) = read(&folder.join("binary"));
    assert!(events.len() > 2000, "{}", events.len());
}
