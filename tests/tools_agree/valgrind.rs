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

use super::{Counted, Report, Sum, built, count, from_the_first, numbers};
use memhook_trace::Trace;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use support::{Link, compile, folder, is_installed, library, root, run_for};

/// valgrind has the program itself below, and nothing else.
const PROGRAM: u64 = 0x100_0000;

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

/// The same with a program of ours.
fn compare_own(name: &str, own: u64) {
    if is_installed("valgrind") {
        let program = built(name, &format!("{name}-program"));
        compare(name, &[program.to_str().unwrap()], own);
    }
}

#[test]
fn sizes_alignments_and_reallocs() {
    compare_own("valgrind_sizes", 8);
}

#[test]
fn maps_and_strings_of_cpp() {
    compare_own("valgrind_maps", 15);
}

#[test]
fn threads_that_hand_on_blocks() {
    compare_own("valgrind_threads", 4);
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
