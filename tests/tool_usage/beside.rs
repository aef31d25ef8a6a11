//! Beside libmemusage: the same where that one is right, and right where it is not.

use super::{Report, find, libmemusage, plain, program, same_part, usage};
use std::fs;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use support::{Link, Outcome, compile, dist, folder, library, root, run};

/// Both tools under paths of the same length: programs copy their environment.
struct Pair {
    ours: String,
    theirs: String,
}

impl Pair {
    fn new() -> Option<Pair> {
        static MADE: OnceLock<Option<[String; 2]>> = OnceLock::new();
        let make = || {
            let theirs = libmemusage()?;
            let folder = folder("usage-pair");
            let below = compile(&root().join("tests/c/usage_below.c"), &folder.join("below.so"), Link::None);
            let below = below.args(["-shared", "-fPIC", "-fno-builtin"]).run();
            Some([("a", library()), ("b", theirs)].map(|(name, tool)| {
                let folder = folder.join(name);
                fs::create_dir(&folder).expect("target/tests is writable");
                let (link, copy) = (folder.join("tool.so"), folder.join("below.so"));
                std::os::unix::fs::symlink(tool, &link).expect("target/tests is writable");
                fs::copy(&below, &copy).expect("target/tests is writable");
                format!("{} {}", link.display(), copy.display())
            }))
        };
        let [ours, theirs] = MADE.get_or_init(make).clone()?;
        Some(Pair { ours, theirs })
    }

    fn run(preload: &str, command: &mut Command) -> Outcome {
        // The variable is there for both, as programs copy their environment.
        run(command.env("LD_PRELOAD", preload).env("MEMHOOK", "usage"))
    }

    /// What both say of a program.
    fn compare(&self, name: &str, command: &dyn Fn() -> Command) {
        let ours = Pair::run(&self.ours, &mut command());
        let theirs = Pair::run(&self.theirs, &mut command());
        assert_eq!((ours.status, &ours.stdout), (theirs.status, &theirs.stdout), "{name}");
        let theirs = same_part(&plain(&theirs.stderr));
        assert!(theirs.contains("Memory usage summary"), "{name} says nothing:\n{theirs}");
        assert_eq!(same_part(&ours.stderr), theirs, "{name}");
        println!("{name}: {} lines the same", theirs.lines().count());
    }
}

#[test]
fn a_dozen_programs_are_counted_as_by_libmemusage() {
    let Some(pair) = Pair::new() else { return };
    let single = program("usage_single");
    for name in [
        "nothing",
        "one_block",
        "every_size",
        "edges_of_the_histogram",
        "callocs",
        "reallocs",
        "frees_of_nothing",
        "peak_in_the_middle",
        "peak_by_realloc",
        "mapped_blocks",
        "mixture",
        "at_exit",
        "stdio",
    ] {
        pair.compare(name, &|| {
            let mut command = Command::new(&single);
            command.arg(name);
            command
        });
    }
}

/// Real programs with one thread, which allocate the same in every run. (One that calls dlopen does not: the dynamic
/// linker allocates by how many objects there are. One that closes standard error before it ends has no report.)
#[test]
fn real_programs_are_counted_as_by_libmemusage() {
    let Some(pair) = Pair::new() else { return };
    let folder = folder("usage-real");
    let source = folder.join("source.c");
    fs::write(&source, "int f(int n) { return n ? f(n - 1) + n : 0; }\n").unwrap();
    let object = compile(&source, &folder.join("source.o"), Link::None).args(["-c", "-fPIC"]).run();
    let cc1 = Command::new("gcc").arg("-print-prog-name=cc1").output();
    let cc1 = cc1.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let object = object.to_str().unwrap();
    let script = "create table t(a, b); with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000) \
                  insert into t select i, i * i % 97 from n; select b, count(*) from t group by b order by 2, 1;";
    let programs: [(&str, &[&str]); 12] = [
        ("perl", &["-e", "for (1..3000) { $h{$_} = 'x' x ($_ % 300) } print scalar keys %h"]),
        ("python3", &["-S", "-c", "print(sum(len(str(i) * 3) for i in range(20000)))"]),
        ("sqlite3", &[":memory:", script]),
        (&cc1, &["-quiet", "-O2", source.to_str().unwrap(), "-o", "/dev/null"]),
        ("as", &["/dev/null", "-o", "/dev/null"]),
        ("ld", &["-r", object, "-o", "/dev/null"]),
        ("readelf", &["-a", object]),
        ("git", &["config", "--file", "/dev/null", "--list"]),
        ("make", &["-f", "/dev/null"]),
        ("bash", &["-c", "for i in {1..300}; do x=$x$i; done; echo ${#x}"]),
        ("file", &["-b", object]),
        ("objdump", &["-d", object]),
    ];
    let aslr = Command::new("setarch").args(["-R", "true"]).status().is_ok_and(|status| status.success());
    let mut compared = 0;
    for (name, arguments) in programs {
        let Some(program) = find(name) else { continue };
        pair.compare(name, &|| {
            let mut command = Command::new(if aslr { Path::new("setarch") } else { &program });
            if aslr {
                command.arg("-R").arg(&program);
            }
            command
                .args(arguments)
                .env("PERL_HASH_SEED", "0")
                .env("PYTHONHASHSEED", "0")
                .current_dir(&folder);
            command
        });
        compared += 1;
    }
    assert!(compared >= 4, "only {compared} programs are installed");
}

/// A program that says what it did, under each of the two.
fn wrong(name: &str) -> [Outcome; 2] {
    static BUILT: OnceLock<std::path::PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| program("usage_wrong"));
    let command = || {
        let mut command = Command::new(built);
        command.arg(name);
        command
    };
    let ours = usage("usage", &mut command());
    let theirs = libmemusage().map(|tool| run(command().env("LD_PRELOAD", tool)));
    let theirs = theirs.unwrap_or(Outcome { status: 0, stdout: String::new(), stderr: String::new() });
    assert_eq!(ours.status, 0, "{}", ours.stderr);
    [ours, Outcome { stderr: plain(&theirs.stderr), ..theirs }]
}

#[test]
fn calloc_that_overflows_fails() {
    let [ours, theirs] = wrong("overflow");
    assert_eq!(ours.stdout, "refused\n");
    assert_eq!(Report(&ours.stderr).summary("heap total"), 0);
    assert!(theirs.stdout.is_empty() || theirs.stdout == "a block\n", "libmemusage is right by now");
}

#[test]
fn aligned_functions_are_counted() {
    let [ours, theirs] = wrong("aligned");
    assert_eq!(ours.stdout, "2475 calls, 123750 bytes, 0 wrong\n");
    let report = Report(&ours.stderr);
    assert_eq!(report.row("aligned"), [2475, 123750, 0]);
    assert_eq!(report.row("free")[0], 2475);
    assert_eq!(report.row("realloc")[..3], [1225, 0, 0]);
    assert_eq!(report.summary("heap total"), 123750);
    assert!(theirs.stderr.is_empty() || Report(&theirs.stderr).summary("heap total") == 0);
}

#[test]
fn what_failed_is_not_in_the_totals() {
    let [ours, theirs] = wrong("failed");
    assert_eq!(ours.stdout, "0 given\n");
    let report = Report(&ours.stderr);
    assert_eq!(report.row("malloc"), [6, 10, 5]);
    assert_eq!(report.row("realloc")[..3], [1, 0, 1]);
    assert_eq!(report.row("calloc"), [1, 0, 1]);
    assert_eq!(report.row("aligned"), [1, 0, 1]);
    assert_eq!((report.summary("heap total"), report.summary("heap peak")), (10, 10));
    assert!(theirs.stderr.is_empty() || Report(&theirs.stderr).summary("heap total") > 1 << 60);
}

/// Calls that are refused for their arguments have failed like any other. libmemusage sees some of them only: not
/// what the C library refuses by itself.
#[test]
fn what_is_refused_has_failed() {
    let [ours, _] = wrong("refused");
    assert_eq!(ours.stdout, "0 given\n");
    let report = Report(&ours.stderr);
    assert_eq!(report.row("malloc"), [2, 10, 1]);
    assert_eq!(report.row("calloc"), [2, 0, 2]);
    assert_eq!(report.row("realloc")[..3], [4, 0, 4]);
    assert_eq!(report.row("aligned"), [5, 0, 5]);
    assert_eq!(report.row("free"), [1, 10]);
    assert_eq!((report.summary("heap total"), report.summary("heap peak")), (10, 10));
}

#[test]
fn malloc_usable_size_is_right() {
    let [ours, theirs] = wrong("measured");
    assert_eq!(ours.stdout, "0 wrong\n");
    assert!(theirs.stdout.is_empty() || theirs.stdout == "770 wrong\n", "{}", theirs.stdout);
}

/// A hundred frames of 10,000 bytes. What stands between the two ends is the library's.
#[test]
fn stack_peak_is_right() {
    let [ours, theirs] = wrong("stack");
    let peak = Report(&ours.stderr).summary("stack peak");
    assert!((1_000_000..1_020_000).contains(&peak), "{peak}");
    if !theirs.stderr.is_empty() {
        println!("libmemusage: {}", Report(&theirs.stderr).summary("stack peak"));
    }
}

/// Runs a program with mappings counted.
fn mapping(words: &str, command: &mut Command) -> Outcome {
    let preload = format!("{} {}", library().display(), dist().join("lib/libmemhook-mmap.so").display());
    run(command.env("LD_PRELOAD", preload).env("MEMHOOK", words))
}

/// A tenth of what there is at most: libmemusage subtracts what it has not added.
#[test]
fn peak_does_not_wrap_where_mmap_is_traced() {
    let program = program("usage_wrong");
    let mut command = Command::new(&program);
    let ours = mapping("usage", command.arg("mapped").env("MEMUSAGE_TRACE_MMAP", "1"));
    let report = Report(&ours.stderr);
    assert_eq!(report.summary("heap peak"), 1 << 20);
    assert_eq!(report.summary("heap total"), 10 * (1 << 20) + 1000);
    let Some(tool) = libmemusage() else { return };
    let theirs = run(command.env("LD_PRELOAD", tool).env_remove("MEMHOOK"));
    assert!(Report(&plain(&theirs.stderr)).summary("heap peak") > 1 << 63);
}

/// Line by line, but for the peak.
#[test]
fn mappings_are_counted_as_by_libmemusage() {
    let program = program("usage_maps");
    let mut command = Command::new(&program);
    let ours = mapping("usage", command.arg("plain").env("MEMUSAGE_TRACE_MMAP", "1"));
    assert_eq!((ours.status, ours.stdout.as_str()), (0, ""));
    let report = Report(&ours.stderr);
    assert_eq!(report.row("mmap(r)"), [1, 100, 0]);
    assert_eq!(report.row("mmap(w)"), [1, 4096, 0]);
    assert_eq!(report.row("mmap(a)"), [12, 10 * (1 << 20) + 8192 + 12288, 0]);
    assert_eq!(report.row("mremap"), [3, 65536 - 8192, 0]);
    assert_eq!(report.row("munmap"), [12, 10 * (1 << 20) + 12288 + 4096, 0]);
    assert_eq!(report.summary("heap peak"), 1 << 20);
    // The page of the file that is left, and the one that the moved mapping was put over.
    assert!(ours.stderr.contains("\n mapped| 8192 bytes\n"), "{}", ours.stderr);
    let Some(tool) = libmemusage() else { return };
    let theirs = run(command.env("LD_PRELOAD", tool).env_remove("MEMHOOK"));
    let without_peak =
        |text: &str| text.replacen(", heap peak: ", "\n", 1).lines().map(str::to_owned).collect();
    let (ours, theirs) = (same_part(&ours.stderr), same_part(&plain(&theirs.stderr)));
    let [ours, theirs]: [Vec<String>; 2] = [ours, theirs].map(|text| without_peak(&text));
    assert!(ours.len() > 15, "{ours:?}");
    assert_eq!(ours[3..], theirs[3..]);
    assert_eq!(ours[1], theirs[1]);
}

#[test]
fn mappings_that_fail_are_counted_as_failed() {
    let program = program("usage_maps");
    let ours = mapping("usage=maps", Command::new(&program).arg("failing"));
    assert_eq!((ours.status, ours.stdout.as_str()), (0, ""));
    let report = Report(&ours.stderr);
    assert_eq!(report.row("mmap(r)"), [1, 0, 1]);
    assert_eq!(report.row("mmap(a)"), [2, 100, 1]);
    assert_eq!(report.row("mremap"), [1, 0, 1]);
    assert_eq!(report.row("munmap"), [2, 100, 1]);
    assert_eq!(report.summary("heap peak"), 4096);
}

#[test]
fn what_one_thread_maps_another_unmaps() {
    let program = program("usage_maps");
    let ours = mapping("usage=maps,batch:1", Command::new(&program).arg("threads"));
    assert_eq!((ours.status, ours.stdout.as_str()), (0, ""));
    let report = Report(&ours.stderr);
    assert_eq!(report.row("mmap(a)"), [16, 8 * ((1 << 20) + (1 << 16)), 0]);
    assert_eq!(report.row("munmap"), [16, 8 * ((1 << 20) + (1 << 16)), 0]);
    assert!(ours.stderr.contains("\n mapped| 0 bytes\n"), "{}", ours.stderr);
    let peak = report.summary("heap peak");
    assert!((1 << 20..(1 << 20) + (1 << 17)).contains(&peak), "{peak}");
}

/// Whoever asks for mappings without the object that leads them here is told which it is.
#[test]
fn mappings_that_cannot_be_counted_are_said_not_to_be() {
    let program = program("usage_maps");
    let ours = usage("usage", Command::new(&program).arg("plain").env("MEMUSAGE_TRACE_MMAP", "1"));
    let said = "memhook: MEMHOOK: usage: mappings are not counted: for that, libmemhook-mmap.so must be preloaded too, \
                behind libmemhook.so\n";
    assert!(ours.stderr.starts_with(said), "{}", ours.stderr);
    assert_eq!(Report(&ours.stderr).row("mmap(a)"), [0, 0, 0]);
}

/// With the object there and no session that asks for it, mappings work as ever and are not counted.
#[test]
fn mappings_are_left_alone_where_nobody_asks() {
    let program = program("usage_maps");
    for mode in ["plain", "failing", "threads"] {
        let ours = mapping("usage", Command::new(&program).arg(mode));
        assert_eq!((ours.status, ours.stdout.as_str()), (0, ""));
        assert!(!ours.stderr.contains("mmap("), "{}", ours.stderr);
    }
}

/// What a program writes to standard error where that is a terminal.
fn on_a_terminal(command: &mut Command) -> String {
    let (mut leader, mut follower) = (0, 0);
    let null = std::ptr::null_mut();
    // SAFETY: two places for descriptors; what is NULL is not asked for.
    let opened = unsafe { libc::openpty(&mut leader, &mut follower, null, null.cast(), null.cast()) };
    assert_eq!(opened, 0, "there are terminals");
    // SAFETY: just opened, and ours.
    let (leader, follower) = unsafe { (OwnedFd::from_raw_fd(leader), OwnedFd::from_raw_fd(follower)) };
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(follower).spawn();
    let mut child = child.expect("the program runs");
    // The command has the other end too.
    *command = Command::new("true");
    let mut text = Vec::new();
    // Ends with an error when nobody has the other end any more.
    let _ = fs::File::from(leader).read_to_end(&mut text);
    assert!(child.wait().expect("it ends").success());
    String::from_utf8_lossy(&text).replace('\r', "")
}

/// libmemusage's colours, on a terminal; libmemusage writes them into files too.
#[test]
fn colours_are_for_terminals() {
    let Some(tool) = libmemusage() else { return };
    let program = program("usage_wrong");
    let run_with = |variables: [(&str, &std::ffi::OsStr); 2]| {
        on_a_terminal(Command::new(&program).arg("failed").envs(variables))
    };
    let single = super::program("usage_single");
    let ours = usage("usage", Command::new(&single).arg("mixture"));
    assert!(!ours.stderr.contains('\x1b'));
    let theirs = run(Command::new(&single).arg("mixture").env("LD_PRELOAD", &tool));
    assert!(theirs.stderr.contains('\x1b'));
    let ours = run_with([("LD_PRELOAD", library().as_os_str()), ("MEMHOOK", "usage".as_ref())]);
    let theirs = run_with([("LD_PRELOAD", tool.as_os_str()), ("MEMHOOK", "".as_ref())]);
    // Codes and words, without the numbers.
    let shape = |text: &str| {
        let lines = text.lines().skip_while(|line| !line.contains("Memory usage summary"));
        let lines = lines.take_while(|line| !line.contains("Histogram"));
        lines
            .map(|line| line.replace(|c: char| c == ' ' || c.is_ascii_digit(), "") + "\n")
            .collect::<String>()
    };
    assert_eq!(shape(&ours), shape(&theirs));
    assert!(ours.contains("\x1b[01;41m"), "failed calls stand out:\n{ours:?}");
    assert!(ours.contains("=\x1b[0;0m\n"), "bars are coloured:\n{ours:?}");
}

fn numbers(line: &str) -> Vec<u64> {
    let line = line.replace(',', "");
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// valgrind counts blocks, bytes and the peak in its own way.
#[test]
fn valgrind_agrees() {
    if find("valgrind").is_none() {
        return;
    }
    let single = program("usage_single");
    for name in ["peak_in_the_middle", "mixture", "every_size"] {
        let ours = usage("usage", Command::new(&single).arg(name));
        let report = Report(&ours.stderr);
        let valgrind = |tool: &str, line: &str| {
            let mut command = Command::new("valgrind");
            command.args([tool, "--run-libc-freeres=no", "--dhat-out-file=/dev/null"]);
            if !tool.contains("dhat") {
                command = Command::new("valgrind");
                command.args([tool, "--run-libc-freeres=no"]);
            }
            let said = run(command.arg(&single).arg(name)).stderr;
            let found = said.lines().find_map(|l| l.split(line).nth(1));
            numbers(found.unwrap_or_else(|| panic!("no {line} in\n{said}")))
        };
        let [malloc, realloc, calloc] = ["malloc", "realloc", "calloc"].map(|kind| report.row(kind));
        let heap = valgrind("--tool=memcheck", "total heap usage:");
        assert_eq!(heap[0], malloc[0] + realloc[0] + calloc[0], "{name}: calls");
        if realloc[0] == 0 {
            // valgrind counts all of a block that is resized.
            assert_eq!(heap[2], report.summary("heap total"), "{name}: bytes");
        }
        let live = valgrind("--tool=memcheck", "in use at exit:");
        assert_eq!(report.row("in use")[..1], live[..1], "{name}: in use");
        assert_eq!(heap[0] - heap[1], live[1], "{name}: blocks");
        if name != "every_size" {
            // DHAT takes a block of no bytes for one of one byte.
            assert_eq!(report.summary("heap peak"), valgrind("--tool=dhat", "t-gmax:")[0], "{name}: peak");
        }
        println!("{name}: {} calls, {} bytes in use", heap[0], live[0]);
    }
}
