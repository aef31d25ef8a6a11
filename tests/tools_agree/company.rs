//! Tools beside each other and over other allocators: they count the same, and get in nobody's way.

use super::{Report, built, count};
use memhook_trace::Trace;
use std::fs;
use std::path::Path;
use std::process::Command;
use support::{Outcome, folder, library, run_for};

/// What the tools in force say of a run, as far as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    outcome: Outcome,
    usage: Option<Report>,
    trace: Option<Report>,
}

const TOOLS: [&str; 4] =
    ["usage=batch:1,file:FOLDER/usage", "trace=FOLDER/trace,binary", "check=report", "fail=FAIL"];

/// Runs a program with the tools whose bits are set, in front of `below`.
fn run_with(name: &str, program: &Path, tools: u32, fail: &str, below: &[&str]) -> Said {
    let folder = folder(&format!("company-{name}-{tools}"));
    let chosen = TOOLS.iter().enumerate().filter(|(i, _)| tools & 1 << i != 0).map(|(_, word)| *word);
    let words = chosen.collect::<Vec<_>>().join(" ");
    let words = words.replace("FOLDER", folder.to_str().unwrap()).replace("FAIL", fail);
    let mut command = Command::new(program);
    let preload = format!("{} {}", library().display(), below.join(" "));
    command.env("LD_PRELOAD", preload).env("MEMHOOK", words);
    let outcome = run_for(command.current_dir(&folder), 300);
    let usage = fs::read_to_string(folder.join("usage")).ok().map(|text| Report::of(&text));
    let trace = folder.join("trace").exists().then(|| {
        let trace = Trace::open(folder.join("trace")).unwrap();
        assert_eq!(trace.damage(), []);
        count(&trace).1
    });
    assert_eq!([usage.is_some(), trace.is_some()], [tools & 1 != 0, tools & 2 != 0]);
    Said { outcome, usage, trace }
}

/// Each alone, any two, any three and all: the program does the same, and each says the same of it.
#[test]
fn tools_in_any_company_say_the_same() {
    let program = built("valgrind_sizes", "company-program");
    let plain = run_with("plain", &program, 0, "", &[]).outcome;
    assert_eq!((plain.status, plain.stdout.as_str(), plain.stderr.as_str()), (0, "300 slots\n", ""));
    // What fails is decided by what the program asks for, and not by what a tool above adds to it.
    for (fail, most) in [("nth:1000000000", 0), ("every:3,above:2000", 2000), ("chance:0.05,seed:4", 2000)] {
        let mut reports: [Option<Report>; 2] = [None, None];
        for tools in 1..16 {
            let said = run_with("sizes", &program, tools, fail, &[]);
            assert_eq!(said.outcome, plain, "{tools} {fail}");
            let which = usize::from(tools & 8 != 0);
            for report in [said.usage, said.trace].into_iter().flatten() {
                let first = reports[which].get_or_insert_with(|| report.clone());
                assert_eq!(report, *first, "{tools} {fail}");
            }
        }
        let [without, with] = reports.map(|report| report.expect("usage and trace were there"));
        assert_eq!(without.failed, 0);
        assert!(with.failed <= most && (with.failed > 50) == (most != 0), "{fail}: {}", with.failed);
        println!("{fail}: {} calls, {} failed", with.calls, with.failed);
    }
}

fn allocators() -> Vec<String> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let names = ["libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libmimalloc.so.2"];
    let find = |name: &str| {
        let found = folders.iter().map(|folder| Path::new(folder).join(name)).find(|file| file.exists());
        if found.is_none() {
            println!("skipped: {name} is not installed");
        }
        Some(found?.display().to_string())
    };
    names.into_iter().filter_map(find).collect()
}

/// All tools at once over other allocators say of a program what they say over glibc's.
#[test]
fn tools_say_the_same_over_any_allocator() {
    let program = built("valgrind_sizes", "company-below");
    let own = run_with("glibc", &program, 15, "nth:1000000000", &[]);
    assert_eq!((own.outcome.status, own.outcome.stderr.as_str()), (0, ""));
    let ours = own.usage.expect("a report");
    for below in allocators() {
        let said = run_with("below", &program, 15, "nth:1000000000", &[&below]);
        assert_eq!((&said.outcome, &said.usage), (&own.outcome, &said.trace), "{below}");
        let theirs = said.usage.expect("a report");
        // An allocator that is written in C++ brings libstdc++, which makes a block at the start.
        let (calls, bytes) = (theirs.calls - ours.calls, theirs.total - ours.total);
        assert!(calls == 0 && bytes == 0 || calls == 1 && bytes > 70_000, "{calls} calls, {bytes} bytes");
        let Report { live: [live_bytes, live_blocks], .. } = ours;
        let live = [live_bytes + bytes, live_blocks + calls];
        let expected = Report {
            calls: theirs.calls,
            total: theirs.total,
            peak: ours.peak + bytes,
            live,
            ..ours.clone()
        };
        assert_eq!(theirs, expected, "{below}");
    }
}

/// These allocators bring an operator new that does not call malloc. With libstdc++'s in front of it, all is seen.
#[test]
fn what_cpp_allocates_is_seen_over_any_allocator() {
    let program = built("valgrind_maps", "company-new");
    let own = run_with("new", &program, 15, "nth:1000000000", &[]);
    let ours = own.usage.expect("a report");
    for below in allocators() {
        let said = run_with("new", &program, 15, "nth:1000000000", &["libstdc++.so.6", &below]);
        assert_eq!((&said.outcome, &said.usage), (&own.outcome, &said.trace), "{below}");
        let theirs = said.usage.expect("a report");
        // What an allocator that is written in C++ makes for itself stays to the end.
        let [calls, bytes] = [theirs.calls - ours.calls, theirs.total - ours.total];
        assert!(calls < 10 && bytes < 1000, "{below}: {calls} calls, {bytes} bytes");
        let live = [ours.live[0] + bytes, ours.live[1] + calls];
        let [calls, total, peak] = [ours.calls + calls, ours.total + bytes, ours.peak + bytes];
        assert_eq!(theirs, Report { calls, total, peak, live, ..ours.clone() }, "{below}");
    }
}
