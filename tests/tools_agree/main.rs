//! What the tools count, beside what others count of the same program: valgrind, and the tools themselves in every
//! company and over every allocator.

mod company;
mod programs;
mod valgrind;

use memhook_trace::{Trace, What};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use support::{Link, compile, folder, root};

/// What was done at one place in a program.
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

/// What `usage` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Report {
    /// Calls that made blocks, or resized them.
    calls: u64,
    failed: u64,
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
        let rows = [" malloc|", "realloc|", " calloc|", "aligned|"].map(|row| {
            // Behind the numbers of realloc's row stand others in brackets.
            let rest = text.lines().find_map(|line| line.split(row).nth(1)).unwrap_or("0 0 0");
            let mut words = rest.split_whitespace().map_while(|word| word.parse::<u64>().ok());
            let [calls, _bytes, failed] = [(); 3].map(|()| words.next().expect("a number"));
            (calls, failed)
        });
        let summary = text.lines().find(|line| line.starts_with("Memory usage summary")).expect("a summary");
        let summary: Vec<u64> = summary.split([',', ' ']).filter_map(|word| word.parse().ok()).collect();
        let [total, peak, _stack] = summary[..] else { panic!("{summary:?}") };
        let to_nothing = text.split("free:").nth(1).and_then(|rest| rest.split(')').next());
        let to_nothing: u64 = to_nothing.expect("in brackets").parse().expect("a number");
        let [_calls, freed] = numbers(text, "free|");
        let [bytes, blocks, _threads] = numbers(text, " in use|");
        let failed: u64 = rows.iter().map(|row| row.1).sum();
        let calls = rows.iter().map(|row| row.0).sum::<u64>() - failed - to_nothing;
        Report { calls, failed, to_nothing, total, peak, freed, live: [bytes, blocks] }
    }
}

/// What a trace shows, by everybody's definitions.
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
            What::Made { block: None, .. } | What::ReallocFailed { .. } => {
                report.failed += 1;
                continue;
            }
            What::Made { .. } => None,
            What::Freed { block, .. } => Some(block),
            What::ReallocDone { old, .. } => Some(old),
            What::ReallocBegins { .. } => continue,
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

/// A program of tests/c that knows nothing of the library, without the lines that functions were inlined from:
/// valgrind would show them as frames.
fn built(name: &str, folder_of: &str) -> PathBuf {
    let mut source = root().join("tests/c").join(format!("{name}.c"));
    if !source.exists() {
        source.set_extension("cpp");
    }
    let program = folder(folder_of).join(name);
    compile(&source, &program, Link::None).args(["-g0", "-fno-builtin"]).run()
}
