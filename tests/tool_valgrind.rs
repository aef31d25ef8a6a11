//! Beside valgrind, which counts blocks, bytes, the peak and what is there at the end in its own way: memcheck and
//! DHAT run a program, and memhook's usage and trace count the same run of it, to the block.
//!
//! What each of them counts is computed from the trace, by that one's own definitions:
//!
//! - A realloc that gives a block is for valgrind a call that makes a block of all its bytes and one that frees the
//!   old one. `usage`, as libmemusage, adds to the total what the block grows by, and counts no free.
//! - A realloc to nothing is a free for all, and for `usage`, as for libmemusage, a call of realloc too, which says how
//!   many of its calls were such.
//! - `usage` counts the calls of free with NULL, which are nothing to valgrind: of its row the bytes are compared. How
//!   many blocks were freed is what is left of those that were made.
//! - A block of no bytes has one byte for DHAT, and none for the others.
//! - The dynamic linker gives each thread a table with a place for each loaded object that has variables of each
//!   thread's. The library is such an object: under valgrind another takes its place.
//! - glibc and libstdc++ can give back at the end what they keep for themselves, if valgrind asks them to. It is told
//!   not to: they do not by themselves.

use memhook_trace::{Trace, What};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};
use support::{Link, compile, folder, library, root, run_for};

/// What one program did, or one place in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    blocks: u64,
    bytes: u64,
    live_blocks: u64,
    live_bytes: u64,
}

/// What valgrind says of a program.
#[derive(Debug, PartialEq, Eq)]
struct Counted {
    /// Calls that made blocks, calls that freed them, bytes of the former; bytes and blocks at the end: memcheck.
    heap: [u64; 3],
    at_exit: [u64; 2],
    /// Bytes and blocks altogether, at the peak, at the end: DHAT.
    total: [u64; 2],
    peak: [u64; 2],
    end: [u64; 2],
    /// By the innermost call in the program itself: the address before its return address; 0 where it has no part.
    places: BTreeMap<u64, Sum>,
}

/// valgrind has the program itself below, and nothing else.
const PROGRAM: u64 = 0x100_0000;

/// Places by how far they are behind the first: a program that can lie anywhere lies elsewhere under valgrind.
fn from_the_first(places: BTreeMap<u64, Sum>) -> BTreeMap<u64, Sum> {
    let first = places.keys().find(|&&at| at != 0).copied().unwrap_or(0);
    places.into_iter().map(|(at, sum)| (if at == 0 { 0 } else { at - first + 1 }, sum)).collect()
}

fn numbers<const N: usize>(text: &str, line: &str) -> [u64; N] {
    let found =
        text.lines().find_map(|l| l.split(line).nth(1)).unwrap_or_else(|| panic!("no {line} in\n{text}"));
    let found = found.replace(',', "");
    let all: Vec<u64> = found.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    all.try_into().unwrap_or_else(|all| panic!("{line}: {all:?}"))
}

/// An object that takes the library's place.
fn stand_in() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = root().join("tests/c/valgrind_object.c");
        compile(&source, &folder("valgrind-object").join("object.so"), Link::None)
            .args(["-shared", "-fPIC"])
            .run()
    })
}

fn valgrind(program: &[&str], folder: &Path) -> (Counted, String) {
    let file = folder.join("dhat");
    let out = format!("--dhat-out-file={}", file.display());
    let ask = |options: &[&str]| {
        let mut command = Command::new("valgrind");
        command.args(["--run-libc-freeres=no", "--run-cxx-freeres=no"]).args(options).args(program);
        run_for(command.env("LD_PRELOAD", stand_in()).current_dir(folder), 300)
    };
    let memcheck = ask(&["--tool=memcheck", "--leak-check=no"]);
    let dhat = ask(&["--tool=dhat", "--num-callers=30", &out]);
    assert_eq!((memcheck.status, dhat.status), (0, 0), "{}", memcheck.stderr);
    assert_eq!(memcheck.stdout, dhat.stdout);
    let counted = Counted {
        heap: numbers(&memcheck.stderr, "total heap usage:"),
        at_exit: numbers(&memcheck.stderr, "in use at exit:"),
        total: numbers(&dhat.stderr, "Total:"),
        peak: numbers(&dhat.stderr, "At t-gmax:"),
        end: numbers(&dhat.stderr, "At t-end:"),
        places: places(&fs::read_to_string(file).unwrap()),
    };
    (counted, dhat.stdout)
}

/// The places in DHAT's file, which has one number or list a line, and a table of frames at its end.
fn places(text: &str) -> BTreeMap<u64, Sum> {
    let (points, table) = text.split_once("\"ftbl\":").expect("a table of frames");
    let address = |frame: &str| {
        let digits = frame.split_once("\"0x")?.1.split(':').next()?;
        u64::from_str_radix(digits, 16).ok()
    };
    let frames: Vec<Option<u64>> = table.lines().filter(|line| line.contains('"')).map(address).collect();
    let mut places = BTreeMap::new();
    for point in points.split("{\"tb\":").skip(1) {
        let point = format!("\"tb\":{point}");
        let number = |name: &str| -> u64 {
            let rest = point.split_once(&format!("\"{name}\":")).expect("the number").1;
            rest.split([',', '\n', '}']).next().unwrap().parse().expect("a number")
        };
        let list = point.split_once("\"fs\":[").expect("frames").1.split(']').next().unwrap();
        let list = list.split(',').map(|n| frames[n.parse::<usize>().expect("a frame's number")]);
        let place: &mut Sum = places.entry(list.flatten().find(|&at| at < PROGRAM).unwrap_or(0)).or_default();
        place.blocks += number("tbk");
        place.bytes += number("tb");
        place.live_blocks += number("ebk");
        place.live_bytes += number("eb");
    }
    from_the_first(places)
}

/// What `usage` says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Report {
    /// Calls that made blocks, or resized them.
    calls: u64,
    /// Calls of realloc that freed a block.
    to_nothing: u64,
    total: u64,
    peak: u64,
    /// Bytes.
    freed: u64,
    /// Bytes and blocks.
    live: [u64; 2],
}

impl Report {
    fn of(text: &str) -> Report {
        let number = |line: &str| numbers::<3>(text, line)[0];
        let summary = text.lines().find(|line| line.starts_with("Memory usage summary")).expect("a summary");
        let summary: Vec<u64> = summary.split([',', ' ']).filter_map(|word| word.parse().ok()).collect();
        let [total, peak, _stack] = summary[..] else { panic!("{summary:?}") };
        let aligned = if text.contains("aligned|") { number("aligned|") } else { 0 };
        // Behind the numbers of realloc's row stand others in brackets.
        let realloc = text.lines().find_map(|line| line.split("realloc|").nth(1)).expect("a row");
        let (all, to_nothing) =
            (realloc.trim_start().split(' '), realloc.trim_end_matches(')').split("free:"));
        let [all, to_nothing] = [all.take(1).last(), to_nothing.last()].map(|n| n.unwrap().parse().unwrap());
        let (realloc, to_nothing): (u64, u64) = (all, to_nothing);
        let [_calls, freed] = numbers(text, "free|");
        let [bytes, blocks, _threads] = numbers(text, " in use|");
        let calls = number(" malloc|") + realloc - to_nothing + number(" calloc|") + aligned;
        Report { calls, to_nothing, total, peak, freed, live: [bytes, blocks] }
    }
}

/// What the trace shows, by everybody's definitions.
fn count(trace: &Trace) -> (Counted, Report) {
    let executable = &trace.head().expect("a head").executable;
    let mut report = Report::default();
    let mut counted = Counted {
        heap: [0; 3],
        at_exit: [0; 2],
        total: [0; 2],
        peak: [0; 2],
        end: [0; 2],
        places: BTreeMap::new(),
    };
    // Address: size and place.
    let mut alive: HashMap<u64, (u64, u64)> = HashMap::new();
    let (mut now, mut now_dhat) = (0, 0);
    for event in trace.events() {
        let gone = match event.what {
            What::Made { .. } => None,
            What::Freed { block, .. } => Some(block),
            What::ReallocDone { old, .. } => Some(old),
            What::ReallocBegins { .. } => continue,
            What::ReallocFailed { .. } => panic!("{event:?}"),
        };
        let old = gone.map(|block| alive.remove(&block).unwrap_or_else(|| panic!("not made: {event:?}")));
        if let Some((size, place)) = old {
            counted.heap[1] += 1;
            now -= size;
            now_dhat -= size.max(1);
            match event.what {
                What::Freed { .. } => report.freed += size,
                What::ReallocDone { block: None, .. } => {
                    report.freed += size;
                    report.to_nothing += 1;
                }
                _ => {}
            }
            let place = counted.places.get_mut(&place).unwrap();
            place.live_blocks -= 1;
            place.live_bytes -= size.max(1);
        }
        let made = match event.what {
            What::Made { block, requested, .. } | What::ReallocDone { block, requested, .. } => {
                Some((block, requested))
            }
            _ => None,
        };
        if let Some((Some(block), size)) = made {
            let is_own = |at: &u64| trace.module(*at, event.ticks).is_some_and(|m| m.path == *executable);
            let own = event.callers.iter().map(|caller| caller - 1).find(is_own);
            // A block that is resized belongs to where it was made first.
            let at = old.map_or(own.unwrap_or(0), |(_, place)| place);
            assert!(alive.insert(block, (size, at)).is_none(), "made twice: {event:?}");
            counted.heap[0] += 1;
            counted.heap[2] += size;
            counted.total[0] += size.max(1);
            now += size;
            now_dhat += size.max(1);
            report.calls += 1;
            report.total += size.saturating_sub(old.map_or(0, |(size, _)| size));
            report.peak = report.peak.max(now);
            if now_dhat > counted.peak[0] {
                counted.peak = [now_dhat, alive.len() as u64];
            }
            let place = counted.places.entry(at).or_default();
            place.blocks += 1;
            place.bytes += size.max(1);
            place.live_blocks += 1;
            place.live_bytes += size.max(1);
        }
    }
    counted.places = from_the_first(counted.places);
    counted.at_exit = [now, alive.len() as u64];
    counted.total[1] = counted.heap[0];
    counted.end = [now_dhat, alive.len() as u64];
    report.live = counted.at_exit;
    (counted, report)
}

/// Runs a program under valgrind's tools and under memhook's, and compares what they count.
fn compare(name: &str, program: &[&str], own: u64) {
    let folder = folder(&format!("valgrind-{name}"));
    let (theirs, said) = valgrind(program, &folder);
    let (trace, report) = (folder.join("trace"), folder.join("report"));
    // A batch of one byte: the peak is exact with threads too, as they allocate in turns where it is.
    let words = format!("usage=batch:1,file:{} trace={},binary,unwind:29", report.display(), trace.display());
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).env("LD_PRELOAD", library()).env("MEMHOOK", words).current_dir(&folder);
    let outcome = run_for(&mut command, 300);
    assert_eq!((outcome.status, outcome.stdout, outcome.stderr.as_str()), (0, said, ""));
    let trace = Trace::open(trace).unwrap();
    assert_eq!(trace.damage(), []);
    let (ours, counted) = count(&trace);
    let report = Report::of(&fs::read_to_string(report).unwrap());
    assert_eq!(report, counted, "{name}: usage and trace");
    // In one line each, before all places.
    assert_eq!((ours.heap, ours.at_exit), (theirs.heap, theirs.at_exit), "{name}: memcheck");
    assert_eq!((ours.total, ours.peak, ours.end), (theirs.total, theirs.peak, theirs.end), "{name}: DHAT");
    if cfg!(target_arch = "x86_64") {
        // Elsewhere the trace has no callers of callers.
        assert_eq!(ours.places, theirs.places, "{name}: by places");
    }
    println!(
        "{name}: {} calls, {} bytes, peak {}, {} bytes in {} blocks at the end, {} places",
        ours.heap[0],
        ours.heap[2],
        ours.peak[0],
        ours.at_exit[0],
        ours.at_exit[1],
        ours.places.len()
    );
    assert!(ours.places.keys().filter(|&&at| at != 0).count() as u64 >= own, "{:x?}", ours.places);
    assert!(ours.peak[0] > ours.at_exit[0] && ours.at_exit[1] > 0);
}

fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// A program of ours, without the lines that functions were inlined from: valgrind would show them as frames.
fn built(name: &str, own: u64) {
    if !is_installed("valgrind") {
        return;
    }
    let mut source = root().join("tests/c").join(format!("{name}.c"));
    if !source.exists() {
        source.set_extension("cpp");
    }
    let program = folder(&format!("{name}-program")).join(name);
    let program = compile(&source, &program, Link::None).args(["-g0", "-fno-builtin"]).run();
    compare(name, &[program.to_str().unwrap()], own);
}

#[test]
fn sizes_alignments_and_reallocs() {
    built("valgrind_sizes", 8);
}

#[test]
fn maps_and_strings_of_cpp() {
    built("valgrind_maps", 15);
}

#[test]
fn threads_that_hand_on_blocks() {
    built("valgrind_threads", 4);
}

/// A real program, of which nothing but its calls is known.
#[test]
fn sqlite() {
    if !is_installed("valgrind") || !is_installed("sqlite3") {
        return;
    }
    let script = "create table t(a integer primary key, b text); \
        with recursive n(i) as (select 1 union all select i + 1 from n where i < 300) \
        insert into t select i, hex(i * 7919) || '-' || i from n; \
        create index by_b on t(b); \
        select count(*), sum(length(b)), max(b) from t; \
        select substr(b, 1, 2) as p, group_concat(a) from t group by p order by p limit 5;";
    compare("sqlite3", &["sqlite3", "-init", "/dev/null", "-batch", ":memory:", script], 20);
}
