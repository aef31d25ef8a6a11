//! The tool that checks the heap: faulty programs, one fault each, with the signal and the message that they must end
//! with; correct programs, of which it must not say a word; and glibc's own checker beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use support::{
    Link, Outcome, build, compile, expect, folder, input, is_installed, library, library_folders, root, run,
    run_for, shell,
};

fn faults() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = root().join("tests/c/check_faults.c");
        // -rdynamic: functions have names for the message.
        compile(&source, &folder("check-faults").join("faulty"), Link::None).arg("-rdynamic").run()
    })
}

/// Runs a fault under the library with these variables. Addresses are shown as `0x?`.
fn fault(name: &str, variables: &[(&str, &str)]) -> Outcome {
    let mut command = Command::new(faults());
    command.args(name.split(' ')).env("LD_PRELOAD", library()).envs(variables.iter().copied());
    let outcome = run(&mut command);
    Outcome { stderr: without_addresses(&outcome.stderr), ..outcome }
}

fn without_addresses(text: &str) -> String {
    let mut parts = text.split("0x");
    let mut shown = parts.next().unwrap_or("").to_owned();
    for part in parts {
        shown += "0x?";
        shown += part.trim_start_matches(|digit: char| digit.is_ascii_hexdigit());
    }
    shown
}

/// A line about a function of the program: ` at 0x? (faulty+0x? NAME+0x?), thread N`.
fn at(what: &str, function: &str, thread: u32) -> String {
    format!("  {what} at 0x? (faulty+0x? {function}+0x?), thread {thread}\n")
}

const ABORTED: i32 = -libc::SIGABRT;

/// The message of a fault: the sentence, and the lines below it.
fn message(sentence: &str, lines: &[String]) -> String {
    format!("memhook: check: {sentence}\n{}", lines.concat())
}

fn bytes(from: &str, shown: &[(usize, &str)], untouched: &str) -> String {
    let all: Vec<_> = shown.iter().flat_map(|&(count, byte)| vec![byte; count]).collect();
    format!("  bytes from {from}: {}, untouched they are {untouched}\n", all.join(" "))
}

/// What each fault is to say: the sentence, who finds it, who made the block, who freed it, the bytes.
fn expected(name: &str) -> String {
    let found = |by: &str| at(&format!("found by {by}"), name, 1);
    let end = "  found by the end of the process, thread 1\n".to_owned();
    let block = || at("made by malloc", "block", 1);
    let made = |by: &str| at(&format!("made by {by}"), name, 1);
    let freed = |by: &str| at(&format!("freed by {by}"), name, 1);
    let free = || found("free");
    let (changed, d7) = ("changed behind block 0x? of", "d7");
    let (sentence, lines) = match name {
        "overflow_by_1" => (
            format!("overflow: 1 byte {changed} 24 bytes, the last 1 behind its end"),
            vec![free(), block(), bytes("+24", &[(1, "41"), (23, d7)], d7)],
        ),
        "overflow_by_16" => (
            format!("overflow: 16 bytes {changed} 30 bytes, the last 16 behind its end"),
            vec![free(), block(), bytes("+30", &[(16, "41"), (2, d7)], d7)],
        ),
        "overflow_by_0_word" => (
            format!("overflow: 4 bytes {changed} 4 bytes, the last 4 behind its end"),
            vec![free(), block(), bytes("+4", &[(4, "00"), (24, d7)], d7)],
        ),
        "overflow_leaves_a_gap" => (
            format!("overflow: 1 byte {changed} 32 bytes, the last 9 behind its end"),
            vec![free(), block(), bytes("+32", &[(8, d7), (1, "01"), (7, d7)], d7)],
        ),
        "overflow_of_a_large_block" => (
            format!("overflow: 1 byte {changed} 1000000 bytes, the last 1 behind its end"),
            vec![free(), block(), bytes("+1000000", &[(1, "01"), (15, d7)], d7)],
        ),
        "overflow_of_nothing" => (
            format!("overflow: 1 byte {changed} 0 bytes, the last 1 behind its end"),
            vec![free(), block(), bytes("+0", &[(1, "01"), (15, d7)], d7)],
        ),
        "overflow_of_calloc" => (
            format!("overflow: 1 byte {changed} 15 bytes, the last 1 behind its end"),
            vec![free(), made("calloc"), bytes("+15", &[(1, "00"), (16, d7)], d7)],
        ),
        "overflow_found_by_realloc" => (
            format!("overflow: 1 byte {changed} 10 bytes, the last 1 behind its end"),
            vec![found("realloc"), block(), bytes("+10", &[(1, "00"), (21, d7)], d7)],
        ),
        "underflow_by_1" => (
            "underflow: 1 byte changed before block 0x? of 24 bytes, the first 1 before its beginning".into(),
            vec![free(), block(), bytes("-32", &[(31, d7), (1, "00")], d7)],
        ),
        "underflow_by_8" => (
            "underflow: 8 bytes changed before block 0x? of 24 bytes, the first 8 before its beginning".into(),
            vec![free(), block(), bytes("-32", &[(24, d7), (1, "19"), (7, "00")], d7)],
        ),
        "double_free" => (
            "double free: block 0x? of 24 bytes is freed already".into(),
            vec![free(), block(), freed("free")],
        ),
        "double_free_of_a_large_block" => (
            "double free: block 0x? of 70000 bytes is freed already".into(),
            vec![free(), block(), freed("free")],
        ),
        "double_free_in_two_threads" => (
            "double free: block 0x? of 24 bytes is freed already".into(),
            vec![free(), block(), at("freed by free", "frees", 2)],
        ),
        "double_free_after_realloc_moved" => (
            "double free: block 0x? of 24 bytes is freed already".into(),
            vec![free(), block(), freed("realloc")],
        ),
        "wild" => ("wild pointer: 0x? is an address where no memory is".into(), vec![free()]),
        "wild_and_odd" => ("wild pointer: 0x? is no multiple of 8".into(), vec![free()]),
        "interior" => (
            "interior pointer: 0x? is 8 bytes inside block 0x? of 24 bytes".into(),
            vec![free(), block()],
        ),
        "interior_end" => (
            "interior pointer: 0x? is 0 bytes behind the end of block 0x? of 32 bytes".into(),
            vec![free(), block()],
        ),
        "interior_of_a_freed_block" => (
            "interior pointer: 0x? is 16 bytes inside freed block 0x? of 48 bytes".into(),
            vec![free(), block(), freed("free")],
        ),
        "before_a_block" => (
            "interior pointer: 0x? is 16 bytes before block 0x? of 24 bytes".into(),
            vec![free(), block()],
        ),
        "foreign_mapping" | "foreign_pool_with_headers" => (
            "foreign pointer: 0x? is no block of the allocator; it lies in memory without a name".into(),
            vec![free()],
        ),
        "foreign_stack" => (
            "foreign pointer: 0x? is no block of the allocator; it lies on this thread's stack".into(),
            vec![free()],
        ),
        "foreign_static" => {
            ("foreign pointer: 0x? is no block of the allocator; it lies in faulty".into(), vec![free()])
        }
        "write_after_free" => (
            "write after free: 1 byte changed in freed block 0x? of 100 bytes, the first 33 behind its beginning"
                .into(),
            vec![
                at("found by malloc", "block", 1),
                block(),
                freed("free"),
                bytes("+32", &[(1, "95"), (1, "07"), (30, "95")], "95"),
            ],
        ),
        "write_after_free_to_a_large_block" => (
            "write after free: 1 byte changed in freed block 0x? of 100000 bytes, the first 99999 behind its beginning"
                .into(),
            vec![free(), block(), freed("free"), bytes("+99984", &[(15, "95"), (1, "07")], "95")],
        ),
        "write_after_free_found_at_the_end" => (
            "write after free: 8 bytes changed in freed block 0x? of 100 bytes, the first 8 behind its beginning"
                .into(),
            vec![end, block(), freed("free"), bytes("+0", &[(8, "95"), (8, "00"), (16, "95")], "95")],
        ),
        "realloc_of_a_freed_block" => (
            "use of a freed block: 0x? of 24 bytes is freed already".into(),
            vec![found("realloc"), block(), freed("free")],
        ),
        "realloc_of_an_interior_pointer" => (
            "interior pointer: 0x? is 16 bytes inside block 0x? of 24 bytes".into(),
            vec![found("realloc"), block()],
        ),
        "realloc_of_a_wild_pointer" => {
            ("wild pointer: 0x? is an address where no memory is".into(), vec![found("realloc")])
        }
        "measure_a_freed_block" => (
            "use of a freed block: 0x? of 24 bytes is freed already".into(),
            vec![found("malloc_usable_size"), block(), freed("free")],
        ),
        "never_freed" => (
            format!("overflow: 1 byte {changed} 77 bytes, the last 1 behind its end"),
            vec![end, block(), bytes("+77", &[(1, "41"), (18, d7)], d7)],
        ),
        "memalign_overflow" => (
            format!("overflow: 1 byte {changed} 100 bytes, the last 1 behind its end"),
            vec![free(), made("memalign"), bytes("+100", &[(1, "41"), (27, d7)], d7)],
        ),
        "memalign_underflow" => (
            "underflow: 1 byte changed before block 0x? of 100 bytes, the first 2 before its beginning".into(),
            vec![free(), made("memalign"), bytes("-32", &[(30, d7), (1, "41"), (1, d7)], d7)],
        ),
        "memalign_double_free" => (
            "double free: block 0x? of 100 bytes is freed already".into(),
            vec![free(), made("memalign"), freed("free")],
        ),
        _ => panic!("{name}: nothing is expected of it"),
    };
    message(&sentence, &lines)
}

/// The faults in the program's own table.
fn names() -> Vec<String> {
    let source = fs::read_to_string(root().join("tests/c/check_faults.c")).unwrap();
    let named = source.lines().filter_map(|line| line.trim().strip_prefix("NAMED(")?.strip_suffix("),"));
    named.filter(|name| *name != "no_fault").map(str::to_owned).collect()
}

const AT_THE_END: [&str; 2] = ["write_after_free_found_at_the_end", "never_freed"];

#[test]
fn each_fault_ends_with_its_signal_and_its_message() {
    let names = names();
    assert!(names.len() > 30);
    for name in names.iter().filter(|name| *name != "underflow_far") {
        let stdout = if AT_THE_END.contains(&name.as_str()) { "went on\n" } else { "" };
        let wanted = Outcome { status: ABORTED, stdout: stdout.into(), stderr: expected(name) };
        assert_eq!(fault(name, &[("MEMHOOK", "check")]), wanted, "{name}");
    }
    // What is written over is shown as it is: the address of a function among it.
    let far = fault("underflow_far", &[("MEMHOOK", "check")]);
    let begins = message(
        "underflow: written before block 0x?, over what is known of it: its size, where it was made",
        &[at("found by free", "underflow_far", 1), "  bytes from -64: 18 00 00 00".into()],
    );
    assert!(far.status == ABORTED && far.stderr.starts_with(&begins), "{far:?}");
    let sound = fault("no_fault", &[("MEMHOOK", "check")]);
    assert_eq!(sound, Outcome { status: 0, stdout: "went on\n".into(), stderr: String::new() });
}

/// After a report the program goes on, bad frees do nothing, and bad reallocs fail.
#[test]
fn each_fault_can_be_reported_only() {
    for name in names().iter().filter(|name| *name != "underflow_far") {
        let wanted = Outcome { status: 0, stdout: "went on\n".into(), stderr: expected(name) };
        assert_eq!(fault(name, &[("MEMHOOK", "check=report")]), wanted, "{name}");
    }
}

#[test]
fn handler_of_sigabrt_may_allocate() {
    for name in ["overflow_by_1", "double_free", "write_after_free", "never_freed", "foreign_stack"] {
        let outcome = fault(&format!("{name} handled"), &[("MEMHOOK", "check")]);
        let went_on = if AT_THE_END.contains(&name) { "went on\n" } else { "" };
        assert_eq!((outcome.status, outcome.stdout), (7, format!("{went_on}handler\n")), "{name}");
    }
}

/// `MALLOC_CHECK_`: bit 0 a message, bit 1 abort, bit 2 a message of one line.
#[test]
fn values_of_malloc_check() {
    let full = expected("overflow_by_1");
    let line = format!("{}\n", full.lines().next().unwrap());
    for (value, status, stderr) in [
        ("0", 0, ""),
        ("", 0, ""),
        ("1", 0, &full),
        ("2", ABORTED, ""),
        ("3", ABORTED, &full),
        ("4", 0, ""),
        ("5", 0, &line),
        ("6", ABORTED, ""),
        ("7", ABORTED, &line),
        ("8", 0, "memhook: MALLOC_CHECK_: takes a number from 0 to 7, not '8'\n"),
        ("on", 0, "memhook: MALLOC_CHECK_: takes a number from 0 to 7, not 'on'\n"),
    ] {
        let stdout = if status == 0 { "went on\n" } else { "" };
        let wanted = Outcome { status, stdout: stdout.into(), stderr: stderr.into() };
        assert_eq!(fault("overflow_by_1", &[("MALLOC_CHECK_", value)]), wanted, "MALLOC_CHECK_={value}");
    }
    let tunables = "glibc.malloc.check=1:glibc.malloc.tcache_count=3:glibc.malloc.check=3";
    let wanted = Outcome { status: ABORTED, stdout: String::new(), stderr: full };
    assert_eq!(fault("overflow_by_1", &[("GLIBC_TUNABLES", tunables)]), wanted);
    // What MEMHOOK says goes before.
    let both = fault("overflow_by_1", &[("MALLOC_CHECK_", "2"), ("MEMHOOK", "check=report,short")]);
    assert_eq!(both, Outcome { status: 0, stdout: "went on\n".into(), stderr: line });
}

/// What free_sized says is the program's size, not that of the block which an interceptor above made of it.
#[test]
fn sizes_that_others_changed_are_no_faults() {
    for link in [Link::Shared, Link::Archive] {
        expect("check_below", link, "told where nobody stands between\n");
    }
}

#[test]
fn blocks_that_interceptors_below_have_no_part_in_are_not_theirs() {
    for link in [Link::Shared, Link::Archive] {
        expect("check_above", link, "to each its own\n");
    }
}

#[test]
fn functions_do_what_they_say() {
    let said = fs::read_to_string(root().join("tests/c/check_api.out")).unwrap();
    for link in [Link::Shared, Link::Archive] {
        let outcome = run(&mut Command::new(build("check_api", link)));
        let stderr = "memhook: check: foreign pointer: 0x? is no block of the allocator; it lies on this thread's stack\n";
        let found = Outcome { stderr: without_addresses(&outcome.stderr), ..outcome };
        assert_eq!(found, Outcome { status: 0, stdout: said.clone(), stderr: stderr.into() }, "{link:?}");
    }
}

/// In a fully static program, where the address of a block before the tool's start is all that is known of it.
#[test]
fn static_program_is_checked_too() {
    let outcome = run(&mut Command::new(build("check_api", Link::Static)));
    let said = fs::read_to_string(root().join("tests/c/check_api.out")).unwrap();
    assert_eq!((outcome.status, outcome.stdout), (0, said));
}

fn threads(mode: &str) {
    let outcome = run_for(Command::new(build("check_threads", Link::Shared)).arg(mode), 300);
    let wanted = "160000 blocks, 0 faults, 0 found, 0 bad\n";
    assert_eq!(outcome, Outcome { status: 0, stdout: wanted.into(), stderr: String::new() }, "{mode}");
}

#[test]
fn no_word_of_eight_threads_of_correct_code() {
    threads("");
}

#[test]
fn no_word_while_it_is_started_and_stopped() {
    threads("switch");
}

#[test]
fn no_word_of_fork_children() {
    threads("fork");
}

#[test]
fn fork_children_give_blocks_back() {
    let outcome = run(Command::new(build("check_threads", Link::Shared)).arg("looking"));
    let wanted = "0 children keep what they freed\n";
    assert_eq!(outcome, Outcome { status: 0, stdout: wanted.into(), stderr: String::new() });
}

fn malloc_debug() -> Option<PathBuf> {
    let found = library_folders().iter().map(|f| f.join("libc_malloc_debug.so.0")).find(|file| file.exists());
    if found.is_none() {
        println!("skipped: libc_malloc_debug.so.0 is not installed");
    }
    found
}

/// The statuses of glibc's own mcheck, where it is right. It is not after mcheck_check_all, which makes it pedantic for
/// good, so that faults are told twice.
#[test]
fn mcheck_answers_as_glibcs_own() {
    let program =
        compile(&root().join("tests/c/check_mcheck.c"), &folder("mcheck").join("mcheck"), Link::None)
            .arg("-Wno-deprecated-declarations")
            .run();
    let ask = |library: &Path, mode: &str| run(Command::new(&program).arg(mode).env("LD_PRELOAD", library));
    let said = |started: &str, freed: [&str; 2]| Outcome {
        status: 0,
        stdout: format!(
            "{started} 0\nnew blocks hold 93\nsound: 0, told \ntail: 3, told T\ntail, all: 0, told T\nhead: 2, told H\n\
             head, all: 0, told H\nsound, freed: 0, told {}\ntail, freed: 0, told {}\nNULL: 0, told \n",
            freed[0], freed[1]
        ),
        stderr: String::new(),
    };
    assert_eq!(ask(&library(), "mcheck"), said("mcheck", ["", "T"]));
    assert_eq!(ask(&library(), "pedantic"), said("mcheck_pedantic", ["H", "TT"]));
    if let Some(theirs) = malloc_debug() {
        assert_eq!(ask(&theirs, "mcheck"), said("mcheck", ["H", "TT"]));
        assert_eq!(ask(&theirs, "pedantic"), said("mcheck_pedantic", ["H", "TT"]));
    }
    // NULL in place of a function brings the message and the abort back.
    let again = |library: &Path| {
        let outcome = ask(library, "again");
        (outcome.status, outcome.stdout, outcome.stderr.is_empty())
    };
    let aborted = (ABORTED, "0, told \n".to_owned(), false);
    assert_eq!(again(&library()), aborted);
    if let Some(theirs) = malloc_debug() {
        assert_eq!(again(&theirs), aborted);
    }
    // Without either, the functions are there and do nothing.
    let nothing = run(Command::new(&program).arg("mcheck").env_remove("LD_PRELOAD"));
    assert_eq!(nothing, Outcome { status: 0, stdout: "mcheck -1\n".into(), stderr: String::new() });
}

/// What glibc's own does not answer, or not surely: before the start, for freed blocks, for what is no block.
#[test]
fn mprobe_knows_freed_blocks() {
    let program =
        compile(&root().join("tests/c/check_mcheck.c"), &folder("mprobe").join("mprobe"), Link::None)
            .arg("-Wno-deprecated-declarations")
            .run();
    let outcome = run(Command::new(program).arg("statuses").env("LD_PRELOAD", library()));
    let said = "not started: -1, told \nmcheck 0, again 0, pedantic by now -1\nsound: 0, told \nfreed: 1, told F\ninside: -1, told \n\
                no block: -1, told \nfreed twice: 0, told F\nno block, freed: 0, told H\n";
    assert_eq!(outcome, Outcome { status: 0, stdout: said.into(), stderr: String::new() });
}

/// What `-lmcheck` adds to a program starts the checker through `__malloc_initialize_hook`, which is glibc's no more.
#[test]
fn programs_linked_with_lmcheck_are_checked() {
    for link in [Link::None, Link::Shared, Link::Archive] {
        let source = root().join("tests/c/check_faults.c");
        let program = compile(&source, &folder(&format!("lmcheck-{link:?}")).join("faulty"), link);
        let program = program.args(["-rdynamic", "-lmcheck"]).run();
        let ask = |fault: &str, preload: bool| {
            let mut command = Command::new(&program);
            command.arg(fault).env("LD_PRELOAD", if preload { library() } else { PathBuf::new() });
            let outcome = run(&mut command);
            Outcome { stderr: without_addresses(&outcome.stderr), ..outcome }
        };
        let wanted = Outcome { status: ABORTED, stdout: String::new(), stderr: expected("overflow_by_1") };
        assert_eq!(ask("overflow_by_1", link == Link::None), wanted, "{link:?}");
        assert_eq!(ask("no_fault", link == Link::None).status, 0, "{link:?}");
        if link == Link::None {
            // Alone, the option does nothing.
            assert_eq!(ask("overflow_by_1", false).stderr, "");
        }
    }
}

/// The tools are there when the initialize hook runs, also where no call comes before the library's constructor: what
/// the environment says holds, and the hook's own mcheck has begun.
#[test]
fn environment_goes_before_the_initialize_hook() {
    let source = root().join("tests/c/check_faults.c");
    let folder_of_words = folder("lmcheck-words");
    let program = compile(&source, &folder_of_words.join("faulty"), Link::None);
    let program = program.args(["-rdynamic", "-lmcheck"]).run();
    let trace = format!("trace={}", folder_of_words.join("trace").display());
    for words in ["check=report", &format!("{trace} check=report"), &format!("check=report {trace}")] {
        let mut command = Command::new(&program);
        let outcome = run(command.arg("overflow_by_1").env("LD_PRELOAD", library()).env("MEMHOOK", words));
        let outcome = Outcome { stderr: without_addresses(&outcome.stderr), ..outcome };
        let wanted = Outcome { status: 0, stdout: "went on\n".into(), stderr: expected("overflow_by_1") };
        assert_eq!(outcome, wanted, "{words}");
    }
    for link in [Link::Shared, Link::Archive] {
        let source = root().join("tests/c/check_in_hook.c");
        let program = compile(&source, &folder(&format!("check-in-hook-{link:?}")).join("program"), link);
        let program = program.arg("-Wno-deprecated-declarations").run();
        for (name, value) in [("MEMHOOK", ""), ("MEMHOOK", "check"), ("MALLOC_CHECK_", "3")] {
            let outcome = run(Command::new(&program).env(name, value));
            let wanted = Outcome { status: 0, stdout: "mcheck 0\n".into(), stderr: String::new() };
            assert_eq!(outcome, wanted, "{link:?} {name}={value}");
        }
    }
}

#[test]
fn handler_may_leave_by_longjmp() {
    for link in [Link::Shared, Link::Archive, Link::Static] {
        let outcome = run(&mut Command::new(build("check_leaves", link)));
        let said = "left 1400 times\n";
        assert_eq!(outcome, Outcome { status: 0, stdout: said.into(), stderr: String::new() }, "{link:?}");
    }
}

/// A handler is told with its own `user`, and not after its stop has returned 0.
#[cfg(target_arch = "x86_64")]
#[test]
fn handlers_go_with_their_users() {
    for link in [Link::Shared, Link::Archive] {
        let outcome = run(&mut Command::new(build("check_handlers", link)));
        let said = "\
stop EINPROGRESS, then 0, told 0
changed at every instruction, told 42
";
        assert_eq!(outcome, Outcome { status: 0, stdout: said.into(), stderr: String::new() }, "{link:?}");
    }
}

/// `MALLOC_PERTURB_` and what else fills blocks.
#[test]
fn blocks_are_filled() {
    let program =
        compile(&root().join("tests/c/check_fill.c"), &folder("fill").join("fill"), Link::None).run();
    let filled = |variables: &[(&str, &str)]| {
        let mut command = Command::new(&program);
        command.env_remove("GLIBC_TUNABLES").env_remove("MALLOC_PERTURB_");
        command.env("LD_PRELOAD", library()).envs(variables.iter().copied());
        let outcome = run(&mut command);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{variables:?}");
        outcome.stdout
    };
    let all = |new: &str, freed: &str, moved: &str| {
        format!("malloc {new}, memalign {new}, calloc 00, realloc {new}, freed {freed}, moved {moved}\n")
    };
    // Where nothing is checked, realloc is the backend's: it leaves behind what was there.
    for (variables, new, freed, moved) in [
        (&[("MALLOC_PERTURB_", "165")][..], "5a", "a5", "78"),
        (&[("GLIBC_TUNABLES", "glibc.malloc.perturb=165")], "5a", "a5", "78"),
        (&[("MEMHOOK", "check=fill-only,new-byte:17,freed-byte:18")], "11", "12", "78"),
        (&[("MALLOC_PERTURB_", "165"), ("MALLOC_CHECK_", "3")], "5a", "a5", "a5"),
        (&[("MALLOC_PERTURB_", "255"), ("MALLOC_CHECK_", "3")], "00", "ff", "ff"),
        (&[("MEMHOOK", "check=perturb:90")], "a5", "5a", "5a"),
        (&[("MEMHOOK", "check=new-byte:17,freed-byte:18")], "11", "12", "12"),
        (&[("MEMHOOK", "check=new-byte:17")], "11", "95", "95"),
    ] {
        assert_eq!(filled(variables), all(new, freed, moved), "{variables:?}");
    }
}

/// Over an allocator that does not say how large its blocks are, new ones only.
#[test]
fn blocks_of_unknown_size_are_filled_when_they_are_new() {
    let folder = folder("fill-sizeless");
    let c = root().join("tests/c");
    let below = compile(&c.join("link_sizeless.c"), &folder.join("libsizeless.so"), Link::None)
        .args(["-shared", "-fPIC", "-fno-builtin"])
        .run();
    let mut command = Command::new(compile(&c.join("check_fill.c"), &folder.join("fill"), Link::None).run());
    command.env_remove("GLIBC_TUNABLES").env("MALLOC_PERTURB_", "165");
    command.env("LD_PRELOAD", format!("{}:{}", library().display(), below.display()));
    let said = "malloc 5a, memalign 5a, calloc 00, realloc 00, freed 78, moved 78\n";
    assert_eq!(run(&mut command), Outcome { status: 0, stdout: said.into(), stderr: String::new() });
}

#[test]
fn wrong_settings_are_refused_with_the_right_ones() {
    for (words, said) in [
        ("check=often", "check does not know 'often'; it knows: abort report quiet short pedantic"),
        ("check=frames:65", "check does not know 'frames:65'; it knows: "),
        ("check=quarantine", "check does not know 'quarantine'; it knows: "),
        ("check=new-byte:256", "check does not know 'new-byte:256'; it knows: "),
        ("check=report:1", "check does not know 'report:1'; it knows: "),
        ("check=fill-only", "check needs something to fill blocks with"),
    ] {
        let outcome = fault("no_fault", &[("MEMHOOK", words)]);
        let expected = format!("memhook: MEMHOOK: {said}");
        assert!(outcome.status == 0 && outcome.stderr.starts_with(&expected), "{words}: {outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{words}");
    }
}

/// A privileged process is not steered by its environment: a program with a group of its own.
#[test]
fn variables_are_ignored_in_a_privileged_process() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let program = build("check_secure", Link::Shared);
    let variables = [("MEMHOOK", "check"), ("MALLOC_CHECK_", "3"), ("MALLOC_PERTURB_", "165")];
    let says = || run(Command::new(&program).envs(variables));
    let wanted = |stdout: &str| Outcome { status: 0, stdout: stdout.into(), stderr: String::new() };
    assert_eq!(says(), wanted("privileged 0, checked 1\n"));
    let given = chown(&program, None, Some(1))
        .and_then(|()| fs::set_permissions(&program, fs::Permissions::from_mode(0o2755)));
    let outcome = says();
    if given.is_err() || outcome.stdout.starts_with("privileged 0") {
        println!("skipped: no program here can be made privileged");
        return;
    }
    assert_eq!(outcome, wanted("privileged 1, checked 0\n"));
}

/// A signal whose handler allocates, after every single instruction of the checker, over an allocator that may be called
/// from one.
#[cfg(target_arch = "x86_64")]
#[test]
fn signal_after_every_instruction() {
    let bump = folder("check-bump").join("bump.so");
    let source = root().join("tests/c/e_bump.c");
    let bump = compile(&source, &bump, Link::None).arg("-shared").arg("-fPIC").run();
    let program = build("e_single_step", Link::Shared);
    for hook in ["observer", "owner"] {
        let mut command = Command::new(&program);
        command.args([hook, "1"]).env("MEMHOOK", "check");
        command.env("LD_PRELOAD", format!("{} {}", library().display(), bump.display()));
        let said = "survived a signal after every instruction\n";
        let wanted = Outcome { status: 0, stdout: said.into(), stderr: String::new() };
        assert_eq!(run_for(&mut command, 200), wanted, "{hook}");
    }
}

/// A program, and how it is run in a folder; nothing but its output may be the same with the checker.
fn program(name: &str, command: &dyn Fn(&Path) -> Command) {
    let ran = |words: Option<&str>| {
        let folder = folder(&format!("check-{name}"));
        let mut command = command(&folder);
        command.current_dir(&folder).env("PYTHONHASHSEED", "0").env("PERL_HASH_SEED", "0");
        // As many variables in either run.
        command.env("LD_PRELOAD", if words.is_some() { library() } else { PathBuf::new() });
        command.env("MEMHOOK", words.unwrap_or(""));
        run_for(&mut command, 300)
    };
    let plain = ran(None);
    assert!(plain.stdout.len() + plain.stderr.len() > 10, "{name} says nothing: {plain:?}");
    for words in ["check=report", "check=report,quarantine:8000000,perturb:165"] {
        assert_eq!(ran(Some(words)), plain, "{name} with {words}");
    }
}

#[test]
fn no_word_of_python() {
    if is_installed("python3") {
        let pool = input("pool.py");
        for method in ["fork", "spawn"] {
            program(&format!("python-{method}"), &|_| {
                let mut command = Command::new("python3");
                command.arg(&pool).arg(method).env("PYTHONMALLOC", "malloc");
                command
            });
        }
        let code = "import json, re, zlib, ctypes, hashlib, decimal, threading\n\
                    text = json.dumps({str(i): list(range(i % 50)) for i in range(3000)})\n\
                    threads = [threading.Thread(target=lambda: zlib.compress(text.encode())) for _ in range(4)]\n\
                    [t.start() for t in threads]; [t.join() for t in threads]\n\
                    print(len(re.findall('[0-9]+', text)), hashlib.md5(text.encode()).hexdigest())";
        program("python-modules", &|_| {
            let mut command = Command::new("python3");
            command.args(["-c", code]).env("PYTHONMALLOC", "malloc");
            command
        });
    }
}

#[test]
fn no_word_of_git() {
    if is_installed("git") {
        program("git", &|_| {
            let mut command = Command::new("sh");
            command.arg(input("repository.sh")).arg("30");
            command
        });
    }
}

#[test]
fn no_word_of_compilers() {
    if is_installed("gcc") {
        let source = root().join("tests/c/check_faults.c");
        program("gcc", &|_| shell(&format!("gcc -O2 -g -S -o out.s {} && cksum < out.s", source.display())));
    }
    if is_installed("g++") {
        let source = input("templates.cpp");
        program("g++", &|_| {
            shell(&format!("g++ -std=c++17 -O0 -S -o out.s {} && cksum < out.s", source.display()))
        });
    }
}

#[test]
fn no_word_of_sqlite() {
    if is_installed("sqlite3") {
        let script = fs::read_to_string(input("inserts.sql")).unwrap().replace("@ROWS@", "20000");
        program("sqlite3", &|folder| {
            fs::write(folder.join("script.sql"), &script).unwrap();
            let mut command = Command::new("sqlite3");
            command.args(["-batch", "base.db"]).arg(".read script.sql");
            command
        });
    }
}

#[test]
fn no_word_of_perl() {
    if is_installed("perl") {
        program("perl", &|_| {
            let mut command = Command::new("perl");
            command.arg(input("work.pl")).arg("10000");
            command
        });
    }
}

/// It is the checker that the programs above ran under.
#[test]
fn whole_programs_are_checked() {
    if is_installed("python3") {
        let code = "import ctypes; c = ctypes.CDLL(None); c.malloc.restype = ctypes.c_void_p\n\
                    p = c.malloc(65); print(c.malloc_usable_size(ctypes.c_void_p(p)))\n\
                    ctypes.memset(p, 0, 66); c.free(ctypes.c_void_p(p))";
        let mut command = Command::new("python3");
        let outcome =
            run(command.args(["-c", code]).env("LD_PRELOAD", library()).env("MEMHOOK", "check=report,short"));
        let sentence = "overflow: 1 byte changed behind block 0x? of 65 bytes, the last 1 behind its end";
        assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "65\n"));
        assert_eq!(without_addresses(&outcome.stderr), message(sentence, &[]));
    }
}

#[test]
fn frames_are_those_of_the_callers() {
    let said = "\
nobody wants them: 1
main: all, three places: 3
an observer alone: all
four megabytes down: all
thread: all
thread: all
thread on a stack of the program's: all
thread on a stack of the program's: all
thread on a stack of the program's: all
thread on a coroutine's stack first: the caller; a signal's: the caller; its own: all
thread with a locked page in its stack: all
thread without descriptors: the caller; with: all
thread's fork child: all
signal's own stack: the caller
coroutine: the caller
main again: all
main with a locked page in its stack: all
thread after the first one's end: all
";
    for link in [Link::Shared, Link::Archive, Link::Static] {
        let program = folder(&format!("frames-{link:?}")).join("frames");
        let source = root().join("tests/c/frames.c");
        let program = compile(&source, &program, link).arg("-fno-omit-frame-pointer").run();
        let outcome = run(&mut Command::new(program));
        assert_eq!(outcome, Outcome { status: 0, stdout: said.into(), stderr: String::new() }, "{link:?}");
    }
}

/// With frames a message says from where the callers were called.
#[test]
fn message_has_the_frames_that_were_asked_for() {
    let source = root().join("tests/c/check_faults.c");
    let program = compile(&source, &folder("check-frames").join("faulty"), Link::None);
    let program = program.arg("-rdynamic").arg("-fno-omit-frame-pointer").run();
    let mut command = Command::new(program);
    command.arg("double_free").env("LD_PRELOAD", library()).env("MEMHOOK", "check=frames:3");
    let outcome = run(&mut command);
    let called = |function: &str| format!("    called at 0x? (faulty+0x? {function}+0x?)\n");
    let main = called("main");
    // What calls main has no name.
    let start = "    called at 0x? (libc.so.6+0x?)\n".to_owned();
    let lines = [
        at("found by free", "double_free", 1),
        main.clone(),
        start.clone(),
        at("made by malloc", "block", 1),
        called("double_free"),
        main.clone(),
        at("freed by free", "double_free", 1),
        main,
        start,
    ];
    let wanted = message("double free: block 0x? of 24 bytes is freed already", &lines);
    assert_eq!((outcome.status, without_addresses(&outcome.stderr)), (ABORTED, wanted));
}

/// Frames are walked in programs that have none too, on every thread, without harm.
#[test]
fn no_word_with_frames() {
    if is_installed("python3") {
        let code = "import json, threading\n\
                    def work(): return [json.dumps({str(i): [i] * 9}) for i in range(2000)]\n\
                    threads = [threading.Thread(target=work) for _ in range(4)]\n\
                    [t.start() for t in threads]; [t.join() for t in threads]; print('done with it')";
        let ran = |words: &str| {
            let mut command = Command::new("python3");
            command.args(["-c", code]).env("PYTHONMALLOC", "malloc").env("LD_PRELOAD", library());
            run_for(command.env("MEMHOOK", words), 300)
        };
        let wanted = Outcome { status: 0, stdout: "done with it\n".into(), stderr: String::new() };
        assert_eq!(ran("check=report,frames:16"), wanted);
    }
}
