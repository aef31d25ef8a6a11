//! What libmemusage has not: functions, threads, budgets, signals; and the data file, entry by entry.

use super::{Report, libmemusage, program, usage};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use support::{Link, Outcome, build, compile, expect, folder, root, run};

#[test]
fn functions_count_what_the_program_did() {
    for link in [Link::Shared, Link::Archive] {
        expect(
            "usage_api",
            link,
            "\
begin
every number
sessions are apart
one thread only
reset
usage keeps to its budget
usage exceeds its budget: heap peak 1500 bytes (limit 1499), heap total 1500 bytes (limit 1499), in use 1 blocks (limit 0)
refused
refused without a trace
signals
maps
leaky sessions
taken away
inside callbacks
a large calloc touches nothing
report
in a child
",
        );
    }
}

#[test]
fn resident_memory_is_told_after_the_first_threads_end() {
    expect("usage_resident", Link::Shared, "resident\n");
}

#[test]
fn threads_are_counted_exactly() {
    for link in [Link::Shared, Link::Archive, Link::Static] {
        expect(
            "usage_threads",
            link,
            "\
begin
totals exact, peak within its bound
totals exact, peak within some bytes
the first is silent
read while running
read while handing on
",
        );
    }
}

/// However the library is linked: the report comes after the program's exit handlers, with the shared library also
/// after its destructors, and what it has printed is complete.
#[test]
fn a_session_is_reported_at_exit() {
    for link in [Link::Shared, Link::Archive, Link::Static] {
        let outcome = run(&mut Command::new(build("usage_exit", link)));
        assert_eq!((outcome.status, outcome.stdout.as_str()), (9, "not flushed"), "{link:?}");
        let order: &[_] = match link {
            Link::Shared => {
                &["handler", "destructor", "report", "memhook: usage exceeds its budget: 3 calls (limit 2)"]
            }
            _ => &["handler", "report", "memhook: usage exceeds its budget: 3 calls (limit 2)", "destructor"],
        };
        let event = |line: &str| match line {
            line if line.starts_with("Memory usage summary: ") => Some("report".to_owned()),
            line => order.contains(&line).then(|| line.to_owned()),
        };
        assert_eq!(outcome.stderr.lines().filter_map(event).collect::<Vec<_>>(), order, "{link:?}");
        assert_eq!(Report(&outcome.stderr).row("free")[0], 2, "{link:?}");
    }
}

fn single(words: &str, name: &str) -> Outcome {
    usage(words, Command::new(program("usage_single")).arg(name))
}

/// A run that exceeds its budget fails, whatever it has done, with what it has written complete.
#[test]
fn a_run_that_exceeds_its_budget_fails() {
    for (words, status, said) in [
        ("usage=peak:99", 88, "heap peak 100 bytes (limit 99)"),
        ("usage=peak:100", 0, ""),
        ("usage=peak:1k", 0, ""),
        ("usage=calls:0", 88, "1 calls (limit 0)"),
        ("usage=calls:1", 0, ""),
        ("usage=total:99,status:7", 7, "heap total 100 bytes (limit 99)"),
        ("usage=live:0,blocks:0", 88, "in use 100 bytes (limit 0), in use 1 blocks (limit 0)"),
        ("usage=blocks:1,live:100", 0, ""),
    ] {
        let outcome = single(words, "one_block");
        assert_eq!(outcome.status, status, "{words}: {}", outcome.stderr);
        let last = outcome.stderr.lines().last().unwrap_or("");
        let expected = format!("memhook: usage exceeds its budget: {said}");
        assert_eq!(last == expected, !said.is_empty(), "{words}: {last}");
        assert!(outcome.stderr.starts_with("\nMemory usage summary: heap total: 100, "), "{words}");
    }
    // A program that fails keeps its own status.
    let outcome = single("usage=peak:0,calls:0", "no such program");
    assert_eq!(outcome.status, 2);
    let outcome = single("usage=peak:1M", "stdio");
    assert_eq!((outcome.status, outcome.stdout.as_str()), (88, "10000 lines"));
}

#[test]
fn a_call_that_exceeds_the_peak_aborts() {
    let said = "memhook: usage exceeds its budget in this call: heap peak 12345 bytes (limit 12344)\n";
    let outcome = single("usage=peak:12344,abort", "peak_in_the_middle");
    assert_eq!((outcome.status, outcome.stderr.as_str()), (-libc::SIGABRT, said));
    assert_eq!(single("usage=peak:1234500,abort", "peak_in_the_middle").status, 0);
    assert_eq!(single("usage=peak:1234499,abort", "peak_in_the_middle").status, -libc::SIGABRT);
}

#[test]
fn a_signal_asks_for_a_report() {
    let signal = program("usage_signal");
    let outcome = usage("usage=signal:USR1", &mut Command::new(&signal));
    assert_eq!(outcome.status, 0);
    let totals: Vec<&str> =
        outcome.stderr.lines().filter_map(|l| l.strip_prefix("Memory usage summary: heap total: ")).collect();
    let totals: Vec<&str> = totals.iter().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(totals, ["10", "30", "70"]);
    // None asked for, none installed.
    assert_eq!(usage("usage", &mut Command::new(&signal)).status, -libc::SIGUSR1);
}

/// The thread that a signal meets is in the allocator, with its locks.
#[test]
fn a_signal_may_come_at_any_moment() {
    let folder = folder("usage-storm");
    let file = folder.join("report.%e");
    let words = format!("usage=signal:SIGUSR1,file:{}", file.display());
    let outcome = usage(&words, Command::new(program("usage_signal")).arg("storm"));
    assert_eq!(outcome, Outcome { status: 0, stdout: String::new(), stderr: String::new() });
    let text =
        fs::read_to_string(folder.join("report.usage_signal")).expect("the file is named for the program");
    let reports = text.matches("Memory usage summary").count();
    assert!(reports >= 2, "signals that wait are one");
    assert_eq!(text.matches("Beyond libmemusage").count(), reports);
    assert_eq!(text.matches(" bytes of the process are in memory\n").count(), reports);
}

/// A child opens its own file for each report, and keeps none of them open.
#[test]
fn reports_of_a_child_cost_no_descriptors() {
    let folder = folder("usage-child");
    let words = format!("usage=signal:USR1,file:{}.%p", folder.join("report").display());
    let outcome = usage(&words, Command::new(program("usage_signal")).arg("child"));
    assert_eq!(outcome, Outcome { status: 0, stdout: "0 more\n0 more\n".to_owned(), stderr: String::new() });
    let reports = fs::read_dir(&folder).unwrap().flatten();
    let texts = reports.map(|entry| fs::read_to_string(entry.path()).unwrap());
    let mut counts: Vec<usize> = texts.map(|text| text.matches("Memory usage summary").count()).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 21]);
}

/// The call that the handler has interrupted may have the allocator's locks: that one is not asked for its view then.
#[test]
fn a_signal_handler_may_call_exit() {
    let below = folder("usage-interrupted").join("below.so");
    let source = root().join("tests/c/usage_interrupted.c");
    let below = compile(&source, &below, Link::None).args(["-shared", "-fPIC", "-fno-builtin"]).run();
    let preload = format!("{} {}", support::library().display(), below.display());
    let mut command = Command::new(program("usage_signal"));
    let outcome = run(command.arg("exit").env("LD_PRELOAD", preload).env("MEMHOOK", "usage"));
    assert_eq!((outcome.status, outcome.stdout.as_str()), (3, ""));
    assert_eq!(
        Report(&outcome.stderr).summary("heap peak"),
        10,
        "the call that is interrupted has made nothing yet"
    );
    assert!(!outcome.stderr.contains("  taken|"), "{}", outcome.stderr);
}

/// `[heap, stack, time]` of each entry.
fn entries(file: &Path) -> Vec<[u64; 3]> {
    let bytes = fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert_eq!(bytes.len() % 24, 0);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    bytes.chunks(24).map(|entry| [&entry[..8], &entry[8..16], &entry[16..]].map(number)).collect()
}

/// memusagestat draws it, in each of its ways.
fn draw(file: &Path) {
    let picture = file.with_extension("png");
    for options in [&["-T"][..], &["-t"], &[]] {
        let Ok(drawn) = Command::new("memusagestat").args(options).arg(file).arg(&picture).status() else {
            println!("skipped: memusagestat is not installed");
            return;
        };
        assert!(drawn.success());
        assert!(fs::read(&picture).expect("a picture").starts_with(b"\x89PNG"));
    }
}

/// The same heap after each call as in libmemusage's file, however many entries are collected.
#[test]
fn data_file_has_libmemusages_entries() {
    let (single, folder) = (program("usage_single"), folder("usage-data"));
    let mut heaps: Vec<Vec<u64>> = Vec::new();
    let mut both = vec![(support::library(), "usage")];
    both.extend(libmemusage().map(|tool| (tool, "")));
    for (tool, words) in both {
        for buffer in ["", "1000", "1"] {
            let file = folder.join(format!("data{}{buffer}", heaps.len()));
            let mut command = Command::new(&single);
            command.arg("mixture").env("LD_PRELOAD", &tool).env("MEMHOOK", words);
            command
                .env("MEMUSAGE_OUTPUT", &file)
                .env("MEMUSAGE_NO_TIMER", "1")
                .env("MEMUSAGE_BUFFER_SIZE", buffer);
            let outcome = run(&mut command);
            assert_eq!(outcome.status, 0);
            let report = super::plain(&outcome.stderr);
            let all = entries(&file);
            let [head, rest @ ..] = &all[..] else { panic!("empty") };
            let [second, calls @ ..] = rest else { panic!("too short") };
            assert_eq!(second[0], Report(&report).summary("heap peak"));
            assert_eq!(head[0], 0);
            assert!(head[1] >= second[0] && head[1] <= second[0] + 100_000, "{head:?}");
            assert!(head[2] < second[2] && calls.windows(2).all(|two| two[0][2] <= two[1][2]));
            if buffer == "1" {
                draw(&file);
            }
            heaps.push(calls.iter().map(|entry| entry[0]).collect());
        }
    }
    assert!(heaps[0].len() > 200_000);
    for heap in &heaps[1..] {
        assert!(*heap == heaps[0], "{} and {} entries, not all the same", heap.len(), heaps[0].len());
    }
}

fn data(words: &str, name: &str, folder: &Path) -> Outcome {
    let words = format!("usage={words}");
    usage(&words, Command::new(program("usage_data")).arg(name).arg(folder.join("own")))
}

/// No entry is lost or written twice, and the heap is what all threads have.
#[test]
fn data_file_of_threads_is_whole() {
    let folder = folder("usage-data-threads");
    for buffer in ["buffer:1,", "buffer:7,", ""] {
        let file = folder.join("data");
        let outcome = data(&format!("{buffer}data:{}", file.display()), "threads", &folder);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "done\n"));
        let report = Report(&outcome.stderr);
        let [malloc, calloc, free] = ["malloc", "calloc", "free"].map(|row| report.row(row)[0]);
        let all = entries(&file);
        let made = malloc + calloc;
        let calls = &all[2..];
        // free(NULL), of which the end of a thread has some, changes nothing and has no entry.
        let most = made + free;
        assert!((most - 30..=most).contains(&(calls.len() as u64)), "{} of {most}", calls.len());
        assert!(calls.iter().all(|&[heap, _, time]| time != 0 && heap < 20_000));
        assert!(calls.iter().any(|&[heap, ..]| heap >= 4000), "threads meet");
        assert_eq!(all[1][0], report.summary("heap peak"));
    }
    draw(&folder.join("data"));
}

/// It is the parent's; the child has its report.
#[test]
fn data_file_is_not_written_by_children() {
    let folder = folder("usage-data-fork");
    let file = folder.join("data");
    let words = format!("data:{},file:{}.%p", file.display(), folder.join("report").display());
    let outcome = data(&words, "fork", &folder);
    assert_eq!(outcome.status, 0);
    assert_eq!(entries(&file).len(), 2 + 2 * 50_000 + 2 + 1, "the parent's calls, and stdio's buffer");
    let reports = fs::read_dir(&folder).unwrap().flatten();
    let reports: Vec<String> = reports
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("report."))
        .map(|entry| fs::read_to_string(entry.path()).unwrap())
        .collect();
    let mut calls: Vec<u64> = reports.iter().map(|report| Report(report).row("malloc")[0]).collect();
    calls.sort_unstable();
    assert_eq!(calls, [50_002, 100_001]);
}

/// A program may close descriptors that it does not know, and use their numbers.
#[test]
fn data_file_is_written_to_no_other_file() {
    let folder = folder("usage-data-close");
    let words = format!("buffer:10,data:{}", folder.join("data").display());
    let outcome = data(&words, "close", &folder);
    assert_eq!(outcome.status, 0);
    assert!(
        outcome.stderr.starts_with("memhook: usage: the data file ends here: the program has closed it\n")
    );
    assert_eq!(outcome.stderr.matches("memhook:").count(), 1);
    assert_eq!(fs::read_to_string(folder.join("own")).unwrap(), "own\n");
}

#[test]
fn files_that_cannot_be_written_are_said_and_left() {
    let folder = folder("usage-unwritable");
    for (words, said) in [
        ("data:/dev/full", "MEMHOOK: usage: there is no data file: no space left on the device"),
        ("data:/no/such", "MEMHOOK: usage: there is no data file: no such folder"),
        ("file:/no/such", "MEMHOOK: usage: its report comes here, not into the file: no such folder"),
        ("data:/dev/null,buffer:1", ""),
    ] {
        let outcome = data(words, "threads", &folder);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "done\n"), "{words}");
        let first = outcome.stderr.lines().next().unwrap_or("");
        assert_eq!(first.strip_prefix("memhook: ").unwrap_or(""), said, "{words}: {}", outcome.stderr);
        assert_eq!(outcome.stderr.matches("memhook:").count(), usize::from(!said.is_empty()));
        assert_eq!(outcome.stderr.matches("Memory usage summary").count(), 1, "{words}");
    }
}

/// What cannot be written to the end is said to be cut, and no signal ends the program for it.
#[test]
fn files_that_become_full_are_said_to_be_cut() {
    let folder = folder("usage-full");
    let at = |name: &str| folder.join(name).display().to_string();
    let no_longer = "it is as large as a file may be";
    for (words, limit, said) in [
        (
            "file:/dev/full".to_owned(),
            libc::RLIM_INFINITY,
            "the report in its file is not whole: no space left on the device",
        ),
        (format!("file:{}", at("report")), 100, &format!("the report in its file is not whole: {no_longer}")),
        (format!("data:{},buffer:1", at("data")), 4800, &format!("the data file ends here: {no_longer}")),
    ] {
        let mut command = Command::new(program("usage_data"));
        let restrict = move || {
            let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
            // SAFETY: a live limit, and a call that takes no lock.
            match unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: `restrict` allocates nothing.
        unsafe { command.pre_exec(restrict) };
        let outcome = usage(&format!("usage={words}"), command.arg("threads"));
        assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "done\n"), "{words}: {}", outcome.stderr);
        let lines: Vec<&str> = outcome.stderr.lines().filter(|line| line.starts_with("memhook:")).collect();
        assert_eq!(lines, [format!("memhook: usage: {said}")], "{words}");
    }
    assert!((2..=200).contains(&entries(&folder.join("data")).len()));
}

/// The timer sees how deep the stack is where nothing is allocated; without MEMUSAGE_NO_TIMER it is asked for.
#[test]
fn timer_sees_the_stack_between_calls() {
    let folder = folder("usage-timer");
    let file = folder.join("data");
    let deep = |outcome: Outcome| {
        assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "done\n"));
        let all = entries(&file);
        let deepest = all[2..].iter().map(|entry| entry[1]).max().unwrap();
        (all.len() > 10, deepest > 500_000, Report(&outcome.stderr).summary("stack peak") > 500_000)
    };
    let words = format!("data:{}", file.display());
    assert_eq!(deep(data(&words, "burn", &folder)), (false, false, false));
    assert_eq!(deep(data(&(words + ",timer"), "burn", &folder)), (true, true, true));
    let mut command = Command::new(program("usage_data"));
    command.arg("burn").env("MEMUSAGE_OUTPUT", "x".repeat(5000));
    let outcome = usage("usage", &mut command);
    assert!(
        outcome.stderr.starts_with("memhook: MEMHOOK: usage: there is no data file: the name is too long\n")
    );
    command.env("MEMUSAGE_OUTPUT", &file);
    assert_eq!(deep(usage("usage", &mut command)), (true, true, true));
    assert_eq!(deep(usage("usage", command.env("MEMUSAGE_NO_TIMER", ""))), (false, false, false));
}

/// The program that comes by exec has no handler for the timer's signal.
#[test]
fn timer_ends_with_its_program() {
    let folder = folder("usage-timer-exec");
    let words = format!("usage=program:sh,file:/dev/null,data:{},timer", folder.join("data").display());
    let mut command = Command::new("sh");
    let command = command.args(["-c", "exec \"$0\" burn"]).arg(program("usage_data"));
    assert_eq!(
        usage(&words, command),
        Outcome { status: 0, stdout: "done\n".to_owned(), stderr: String::new() }
    );
}

#[test]
fn a_program_can_be_chosen() {
    for (name, reports) in
        [("usage_single", 1), ("single", 0), ("usage_single/usage_single", 1), ("usage_singl", 0), ("x", 0)]
    {
        let mut command = Command::new(program("usage_single"));
        let outcome = usage("usage", command.arg("one_block").env("MEMUSAGE_PROG_NAME", name));
        assert_eq!(outcome.stderr.matches("Memory usage summary").count(), reports, "{name}");
        let outcome = single(&format!("usage=program:{name}"), "one_block");
        assert_eq!(outcome.stderr.matches("Memory usage summary").count(), reports, "{name}");
    }
}

/// `usage` stands above `fail`: what that one fails is counted as failed.
#[test]
fn failures_by_the_other_tool_are_counted() {
    let outcome = single("fail=above:100,every:1 usage", "edges_of_the_histogram");
    let report = Report(&outcome.stderr);
    let small: u64 = (1..=7).sum();
    let large: u64 = (8..=13).sum();
    assert_eq!(report.row("malloc")[..1], [small + large]);
    assert_eq!(report.row("malloc")[2], large);
}

#[test]
fn wrong_settings_are_refused() {
    for (words, wrong) in [
        ("usage=peak", "does not know 'peak'"),
        ("usage=peak:x", "does not know 'peak:x'"),
        ("usage=peak:99999999999999G", "does not know 'peak:99999999999999G'"),
        ("usage=signal:KILL", "does not know 'signal:KILL'"),
        ("usage=signal:32", "does not know 'signal:32'"),
        ("usage=status:0", "does not know 'status:0'"),
        ("usage=status:256", "does not know 'status:256'"),
        ("usage=buffer:32769", "does not know 'buffer:32769'"),
        ("usage=batch:0", "does not know 'batch:0'"),
        ("usage=file:", "does not know 'file:'"),
        ("usage=data:%x", "does not know 'data:%x'"),
        ("usage=timer", "needs data, where it has timer"),
        ("usage=abort", "needs peak, where it has abort"),
        ("usage=calls:1,nonsense", "does not know 'nonsense'"),
    ] {
        let outcome = single(words, "one_block");
        assert_eq!((outcome.status, outcome.stdout.as_str()), (0, ""), "{words}");
        let expected = format!("memhook: MEMHOOK: usage {wrong}");
        assert!(outcome.stderr.starts_with(&expected), "{words}: {}", outcome.stderr);
        assert_eq!(outcome.stderr.lines().count(), 1, "nothing is started");
        if wrong.contains("know") {
            let knows = "; it knows: file:NAME signal:NAME data:NAME buffer:ENTRIES timer batch:BYTES program:NAME \
                         peak:BYTES total:BYTES calls:N live:BYTES blocks:N status:N abort maps, with commas between them\n";
            assert!(outcome.stderr.ends_with(knows), "{words}: {}", outcome.stderr);
        }
    }
}
