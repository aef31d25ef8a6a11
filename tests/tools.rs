//! The tools on top of the hooks: by their functions, and by the environment variable `MEMHOOK`.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use support::{Link, build, compile, expect, folder, is_emulated, is_installed, library, root, run};

#[test]
fn fail_rules_do_what_they_say() {
    for link in [Link::Shared, Link::Archive] {
        expect(
            "tool_fail",
            link,
            "\
..X...
selected 6, failed 1, bytes 60
.X.X.X
... XXX
.....XXX
by chance: repeatable, about 30 of 100
XXX
nth: this thread .X., another ......
8 of 8 failed as they should, 6 of them by the rule; lives on
realloc to nothing is a free: yes
.. X
by caller: 1, not 0; by object: 1, not 0; by executable: 1, not 0
after bytes: 0 1 1
X.X.
stopped already: ESRCH
goes on
",
        );
    }
}

/// Each entry point that makes blocks fails in its turn as its manual page says, and nothing else is disturbed.
#[test]
fn every_failure_point_is_walked_through() {
    for link in [Link::Shared, Link::Archive, Link::Static] {
        expect(
            "tool_fail_walk",
            link,
            "\
run 1: malloc NULL ENOMEM
run 2: calloc NULL ENOMEM
run 3: realloc NULL ENOMEM
run 4: realloc (NULL) NULL ENOMEM
run 5: reallocarray NULL ENOMEM
run 6: memalign NULL ENOMEM
run 7: aligned_alloc NULL ENOMEM
run 8: posix_memalign ENOMEM
run 9: valloc NULL ENOMEM
run 10: pvalloc NULL ENOMEM
run 11: strdup NULL ENOMEM
run 12: nothing failed
",
        );
    }
}

/// What tools that count stand on: memory of their own in each thread.
#[test]
fn memory_of_a_hook_in_each_thread() {
    for link in [Link::Shared, Link::Archive, Link::Static] {
        let said = "every block counted\nevery thread told apart\nmemory of ended threads used again\n";
        expect("local", link, said);
    }
}

/// All tools in force at once, started and stopped in every order while threads allocate.
#[test]
fn tools_come_and_go_together() {
    for link in [Link::Shared, Link::Archive, Link::Static] {
        let program = build("tools_together", link);
        let outcome = run(Command::new(&program).arg(program.with_extension("trace")));
        assert_eq!(
            (outcome.status, outcome.stdout.as_str()),
            (0, "every order\n"),
            "{link:?}: {}",
            outcome.stderr
        );
        assert_eq!(outcome.stderr, "", "{link:?}");
    }
}

/// What tools ask the dynamic linker once, they need not ask a lock for that nobody gives back.
#[test]
fn tools_start_in_fork_children() {
    for link in [Link::Shared, Link::Archive] {
        expect("tools_fork", link, "started in the child\n");
    }
}

fn victim(name: &str, words: &str) -> String {
    let program =
        compile(&root().join("tests/c/tool_victim.c"), &folder(name).join("victim"), Link::None).run();
    let outcome = run(Command::new(program).env("LD_PRELOAD", library()).env("MEMHOOK", words));
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, ""), "{words}");
    outcome.stderr
}

#[test]
fn words_in_the_environment_start_tools() {
    for (words, said) in [
        ("", "failed 0, first 0\n"),
        ("  ", "failed 0, first 0\n"),
        ("fail=above:900,every:1", "failed 100, first 901\n"),
        ("fail=above:900,nth:5 fail=above:990,every:1", "failed 11, first 905\n"),
        ("fail=after:5050", "failed 900, first 101\n"),
        ("fail=chance:0,every:1,from:libm.so", "failed 0, first 0\n"),
        ("fail=chance:1", "failed 1000, first 1\n"),
        ("fail=chance:0,seed:9,after:100000000", "failed 0, first 0\n"),
        ("fail=every:1,above:990,from:victim", "failed 10, first 991\n"),
    ] {
        let found = victim("tool-words", words);
        let found = found.strip_prefix(
            "memhook: MEMHOOK: fail: no object that is loaded at the start has this in its path\n",
        );
        assert_eq!(found.unwrap_or(&victim("tool-words", words)), said, "{words}");
    }
}

/// Chance begins where the seed says, in each process.
#[test]
fn chance_can_be_repeated() {
    let [one, again, other] =
        [5, 5, 6].map(|seed| victim("tool-chance", &format!("fail=chance:0.3,seed:{seed}")));
    assert!(one == again && one != other, "{one} {again} {other}");
    let failed: u32 = one.split([' ', ',']).nth(1).and_then(|n| n.parse().ok()).expect("a number");
    assert!((200..400).contains(&failed), "{one}");
}

/// A word that nobody knows is refused with those that there are, and nothing is started.
#[test]
fn wrong_words_are_refused_with_the_right_ones() {
    let knows = "it knows: nth:N every:N chance:0.P seed:N above:BYTES after:BYTES from:PART-OF-A-PATH, with commas between them";
    for (words, said) in [
        ("fail", format!("fail does not know ''; {knows}")),
        ("glibc=2", "glibc does not know '2'; it knows: no settings".into()),
        ("fail=often", format!("fail does not know 'often'; {knows}")),
        ("fail=every:x", format!("fail does not know 'every:x'; {knows}")),
        ("fail=every:-1", format!("fail does not know 'every:-1'; {knows}")),
        (
            "fail=every:18446744073709551616",
            format!("fail does not know 'every:18446744073709551616'; {knows}"),
        ),
        ("fail=chance:1.1", format!("fail does not know 'chance:1.1'; {knows}")),
        ("fail=chance:0.0000001", format!("fail does not know 'chance:0.0000001'; {knows}")),
        ("fail=from:", format!("fail does not know 'from:'; {knows}")),
        ("fail=seed:3", "fail needs one of nth, every, chance and after".into()),
    ] {
        let mut expected = format!("memhook: MEMHOOK: {said}");
        expected.truncate(239);
        if expected.ends_with(": ") {
            let found = victim("tool-wrong", words);
            let names =
                found.strip_prefix(&expected).and_then(|rest| rest.strip_suffix("\nfailed 0, first 0\n"));
            assert!(names.is_some_and(|names| names.split(", ").any(|name| name == "fail")), "{found}");
            continue;
        }
        assert_eq!(victim("tool-wrong", words), format!("{expected}\nfailed 0, first 0\n"), "{words}");
    }
}

/// So is one that is too long to be said as a whole.
#[test]
fn long_words_are_refused_with_the_right_ones() {
    for (tool, knows) in [
        ("usage", "abort maps, with commas"),
        ("fail", "PART-OF-A-PATH, with commas"),
        ("check", "fill-only, "),
    ] {
        let word = "x".repeat(5000);
        let said = victim("tool-long", &format!("{tool}={word}"));
        assert!(said.starts_with(&format!("memhook: MEMHOOK: {tool} does not know 'xxx")), "{said}");
        assert!(said.contains("xxx...'; it knows: ") && said.contains(knows), "{said}");
    }
}

/// R12. Root that runs a program for another user makes it a privileged one: for that, neither a file
/// system nor a file with special rights is needed.
#[test]
fn privileged_process_ignores_the_environment() {
    // SAFETY: no precondition.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("privileged_process_ignores_the_environment: skipped: needs root to make one");
        return;
    }
    for link in [Link::Shared, Link::Archive, Link::Static] {
        let source = root().join("tests/c/tool_victim.c");
        let output = folder(&format!("tool-privileged-{link:?}")).join("victim");
        // The victim names nothing of the library that would have it linked.
        let program =
            compile(&source, &output, link).arg("-Wl,--no-as-needed").arg("-Wl,-u,memhook_version").run();
        let mut command = Command::new(&program);
        command.env("MEMHOOK", "fail=every:2");
        assert_eq!(run(&mut command).stderr, "failed 500, first 2\n", "{link:?}");
        // SAFETY: a system call only, between fork and exec.
        unsafe {
            command.pre_exec(|| match libc::setresuid(65534, 0, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        assert_eq!(run(&mut command).stderr, "failed 0, first 0\n", "{link:?}");
    }
}

#[test]
fn unknown_tools_are_refused_with_those_that_there_are() {
    for (words, unknown) in [("fail=every:1 nonsense", "nonsense"), ("Fail=every:1", "Fail")] {
        let said = victim("tool-unknown", words);
        let begins = format!("memhook: MEMHOOK: there is no tool '{unknown}'; there is: ");
        let rest = said.strip_prefix(&begins).and_then(|rest| rest.strip_suffix("\nfailed 0, first 0\n"));
        let known: Vec<_> = rest.unwrap_or_else(|| panic!("{said}")).split(", ").collect();
        assert!(known.contains(&"fail") && known.contains(&"check"), "{said}");
    }
}

/// Where standard error is a pipe that nobody reads, and where it is a file that may not become longer, with the signals
/// that would end the program.
#[test]
fn what_is_said_ends_no_program() {
    let program = build("check_fill", Link::None);
    let folder = folder("said-in-vain");
    let wrong = |command: &mut Command| {
        command.env("LD_PRELOAD", library()).env("MEMHOOK", "unknown");
        command.stdout(Stdio::null()).status().unwrap().code()
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(wrong(Command::new(&program).stderr(writer)), Some(0));
    let full = std::fs::File::create(folder.join("said")).unwrap();
    let mut command = Command::new(&program);
    let no_longer = || {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: a live limit.
        if unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &none) } == 0 {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        }
    };
    // SAFETY: a system call.
    unsafe { command.pre_exec(no_longer) };
    assert_eq!(wrong(command.stderr(full)), Some(0));
}

/// What glibc's own functions do and say of its heap stays true with the library in place, in the initialize hook and
/// in main, with hooks in force and with a tool that makes blocks larger.
#[test]
fn allocators_own_view_goes_on_working() {
    let said = |written: &str| {
        format!(
            "above the threshold: mapped, below: heap\nin use: counted\nearly: set, counted, trimmed, {written}\n\
             trimmed: 1, heap shrank\nmalloc_info: written\n"
        )
    };
    for link in [Link::Shared, Link::Archive, Link::Static] {
        let program = build("tool_mallopt", link);
        let asked = |variables: &[(&str, &str)]| {
            let mut command = Command::new(&program);
            run(command.env_remove("GLIBC_TUNABLES").env_remove("MEMHOOK").envs(variables.iter().copied()))
        };
        let tunables = "glibc.malloc.tcache_count=0:glibc.malloc.mmap_threshold=300000";
        for variables in [&[][..], &[("GLIBC_TUNABLES", tunables)], &[("MEMHOOK", "check")]] {
            let outcome = asked(variables);
            assert_eq!((outcome.status, outcome.stdout), (0, said("not written")), "{link:?} {variables:?}");
            // malloc_stats: one arena, in use, one mapping in its time.
            let lines: Vec<_> = outcome.stderr.lines().collect();
            assert!(lines.len() == 8 && lines[0] == "Arena 0:", "{link:?} {variables:?}: {lines:?}");
            assert!(lines[6].ends_with("=          1"), "{link:?} {variables:?}: {lines:?}");
        }
        let early = asked(&[("EARLY_STDIO", "1")]);
        assert_eq!((early.status, early.stdout), (0, said("written")), "{link:?}");
        let [stats, info] =
            ["Arena 0:\nsystem bytes", "max mmap bytes   =          0\n<malloc version=\"1\">"];
        assert!(early.stderr.starts_with(stats) && early.stderr.contains(info), "{link:?}: {}", early.stderr);
    }
}

/// Nothing is installed in a process that was not asked for.
#[test]
fn no_signal_handler_and_no_timer_that_was_not_asked_for() {
    let folder = folder("tools-quiet");
    let program =
        compile(&root().join("tests/c/tools_quiet.c"), &folder.join("quiet"), Link::None).arg("-fno-builtin");
    let program = program.run();
    let says = |words: &str| {
        let mut command = Command::new(&program);
        let words = words.replace("FOLDER", folder.to_str().unwrap());
        let outcome = run(command.env("LD_PRELOAD", library()).env("MEMHOOK", words));
        assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
        outcome.stdout
    };
    let nothing = "handlers:; blocked:; timers:; others: 0; threads: 1\n";
    for words in [
        "",
        "usage=file:FOLDER/u,data:FOLDER/d trace=FOLDER/t trace=FOLDER/b,binary check=frames:9 fail=nth:1000000 glibc",
    ] {
        assert_eq!(says(words), nothing, "{words}");
    }
    let asked = nothing.replace("handlers:", "handlers: User defined signal 1");
    assert_eq!(says("usage=file:FOLDER/u,signal:USR1"), asked);
    // Kernels without checkpoints do not list them.
    let others = if std::path::Path::new("/proc/self/timers").exists() { "others: 1" } else { "others: 0" };
    let asked =
        nothing.replace("handlers:", "handlers: Profiling timer expired").replace("others: 0", others);
    assert_eq!(says("usage=file:FOLDER/u,data:FOLDER/d,timer"), asked);
}

/// No tool waits for the dynamic linker's lock, not to name functions or to walk stacks either.
#[test]
fn tools_do_without_the_dynamic_linkers_lock() {
    let folder = folder("tools-loader");
    let source = root().join("tests/c/tools_loader.c");
    let plugin =
        compile(&source, &folder.join("plugin.so"), Link::None).args(["-shared", "-fPIC", "-DPLUGIN"]);
    let plugin = plugin.arg("-fno-omit-frame-pointer").run();
    let program = compile(&source, &folder.join("loader"), Link::None).run();
    let mut command = Command::new(&program);
    let words = "usage=file:u trace=t trace=b,binary,unwind:20 trace=f,binary,frames:20 check=report,frames:9 \
                 fail=nth:1000000,from:libc";
    command.arg(&plugin).env("LD_PRELOAD", library()).env("MEMHOOK", words).current_dir(&folder);
    let outcome = run(&mut command);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "loaded\n"), "{}", outcome.stderr);
    // What they say has names all the same.
    let said = "memhook: check: overflow: 1 byte changed behind block ";
    assert!(
        outcome.stderr.starts_with(said) && outcome.stderr.contains("plugin_make+"),
        "{}",
        outcome.stderr
    );
    let text = std::fs::read_to_string(folder.join("t")).unwrap();
    assert!(text.matches("plugin.so:(plugin_make+").count() > 1000);
}

/// R12: whatever there is of variables, and of tools.
#[test]
fn privileged_process_ignores_every_variable() {
    // SAFETY: no precondition.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("privileged_process_ignores_every_variable: skipped: needs root to make one");
        return;
    }
    let (program, folder) = (build("check_secure", Link::Shared), folder("tools-secure"));
    let mut command = Command::new(&program);
    command.current_dir(&folder).envs([
        ("MEMHOOK", "usage=data:d trace=t trace=b,binary check"),
        ("MEMUSAGE_OUTPUT", "m"),
        ("MEMUSAGE_PROG_NAME", "check_secure"),
        ("MALLOC_TRACE", "g"),
        ("MALLOC_CHECK_", "3"),
        ("MALLOC_PERTURB_", "165"),
        ("GLIBC_TUNABLES", "glibc.malloc.check=3:glibc.malloc.perturb=165"),
    ]);
    let files = || std::fs::read_dir(&folder).unwrap().count();
    let outcome = run(&mut command);
    assert_eq!(outcome.stdout, "privileged 0, checked 1\n");
    assert!(outcome.stderr.starts_with("\nMemory usage summary"), "{}", outcome.stderr);
    assert_eq!(files(), 3);
    for file in ["d", "t", "b"] {
        std::fs::remove_file(folder.join(file)).unwrap();
    }
    // SAFETY: a system call only, between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::setresuid(65534, 0, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let outcome = run(&mut command);
    assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("privileged 1, checked 0\n", ""));
    assert_eq!(files(), 0);
}

/// Every example of the documentation is one that works.
#[test]
fn words_of_the_documentation_are_right() {
    let folder = folder("tools-documented");
    let program = compile(&root().join("tests/c/tool_victim.c"), &folder.join("victim"), Link::None).run();
    let mut examples = vec!["usage trace=/tmp/t.%p check".to_owned()];
    for page in ["README.md", "ARCHITECTURE.md", "docs/TOOLS.md", "docs/MIGRATING.md", "docs/TRACE-FORMAT.md"]
    {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        for found in text.split("MEMHOOK=").skip(1) {
            let word = match found.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next(),
                None => found.split([' ', '`', '\n', ',', '.']).next(),
            };
            examples.extend(word.filter(|word| !word.is_empty()).map(str::to_owned));
        }
    }
    assert!(examples.len() > 7, "{examples:?}");
    for example in &examples {
        let words = example.replace("/tmp/", "").replace(",from:libxml2", "");
        let mut command = Command::new(&program);
        let preload =
            format!("{} {}", library().display(), support::dist().join("lib/libmemhook-mmap.so").display());
        command.env("LD_PRELOAD", preload).env("MEMHOOK", words).current_dir(&folder);
        let outcome = run(&mut command);
        assert!(!outcome.stderr.contains("memhook: "), "{example}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("failed "), "{example}: {}", outcome.stderr);
    }
}

/// Memory for the program but not for the tools, or not for long: what cannot be done is said once, and the program
/// goes on.
#[test]
fn tools_that_have_no_memory_say_so() {
    let folder = folder("tools-memory");
    let program = compile(&root().join("tests/c/tool_victim.c"), &folder.join("victim"), Link::None).run();
    let (mut said, mut silent) = (0, 0);
    for megabytes in 24..60 {
        let bytes = megabytes << 17;
        let with = |words: &str| {
            let mut command = Command::new(&program);
            command.env("LD_PRELOAD", library()).env("MEMHOOK", words).current_dir(&folder);
            // SAFETY: a system call only, between fork and exec.
            unsafe {
                command.pre_exec(move || {
                    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
                    match libc::setrlimit(libc::RLIMIT_AS, &raw const limit) {
                        0 => Ok(()),
                        _ => Err(std::io::Error::last_os_error()),
                    }
                });
            }
            run(&mut command)
        };
        let outcome = with("usage=file:u trace=b,binary check=report,short fail=nth:1000000");
        // Not even loaded: the dynamic linker says so, or ends by SIGSEGV without memory for its own tables.
        if outcome.status != 0 && outcome.status == with("").status {
            continue;
        }
        assert_eq!(outcome.status, 0, "{bytes}: {}", outcome.stderr);
        let (own, ours): (Vec<_>, Vec<_>) =
            outcome.stderr.lines().partition(|line| line.starts_with("failed "));
        assert_eq!(own.len(), 1, "{bytes}: {}", outcome.stderr);
        assert!(ours.iter().all(|line| line.starts_with("memhook: ")), "{bytes}: {ours:?}");
        let mut once = ours.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), ours.len(), "{bytes}: {ours:?}");
        said += u32::from(!ours.is_empty());
        silent += u32::from(ours.is_empty());
    }
    assert!(said > 0 && silent > 0, "{said} said something, {silent} nothing");
}

/// More of a kind than there can be: the reason is the right one.
#[test]
fn tools_that_there_are_too_many_of_say_so() {
    let many = |word: &str, count: usize| victim("tools-many", &[word].repeat(count).join(" "));
    let different = |word: &str, count: usize| {
        let words: Vec<_> = (1..=count).map(|number| format!("{word},batch:{number}")).collect();
        victim("tools-many", &words.join(" "))
    };
    let said = different("usage=file:/dev/null", 17);
    assert_eq!(said, "memhook: MEMHOOK: usage: not started: there are too many\nfailed 0, first 0\n");
    let said = different("usage=file:/dev/null,signal:USR2", 2);
    assert_eq!(
        said,
        "memhook: MEMHOOK: usage: not started: somebody else has its signal\nfailed 0, first 0\n"
    );
    let said = many("trace=/dev/null", 9);
    assert_eq!(said, "memhook: trace: /dev/null: too many traces at once\nfailed 0, first 0\n");
    let said = many("check", 2);
    assert_eq!(said, "memhook: MEMHOOK: check: blocks are being checked already\nfailed 0, first 0\n");
}

/// Two sessions that count the same, two that report it: a mistake, which is said.
#[test]
fn the_same_usage_twice_is_refused() {
    for (words, said) in [
        ("usage usage", "memhook: MEMHOOK: 'usage' is there twice\nfailed 0, first 0\n"),
        (
            "usage=file:u fail=nth:3 usage=file:u",
            "memhook: MEMHOOK: 'usage=file:u' is there twice\nfailed 0, first 0\n",
        ),
        ("fail=nth:3 fail=nth:5", "failed 2, first 3\n"),
    ] {
        assert_eq!(victim("tools-twice", words), said, "{words}");
    }
}

/// A command of the shell's in a process without /proc; `None` where there can be none.
fn without_proc(script: &str) -> Option<Command> {
    let inside = "mount -t tmpfs none /proc";
    let can = run(Command::new("unshare").args(["-rm", "sh", "-c", inside])).status == 0;
    if !can || is_emulated() {
        println!("skipped: /proc cannot be taken away here");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &format!("{inside} && {script}")]).env("LIBRARY", library());
    Some(command)
}

/// Names of files and of programs are those by which it was started; what check does not know, it says.
#[test]
fn tools_know_their_program_without_proc() {
    if !is_installed("unshare") {
        return;
    }
    let folder = folder("tools-no-proc");
    let victim = compile(&root().join("tests/c/tool_victim.c"), &folder.join("victim"), Link::None).run();
    let words =
        "LD_PRELOAD=$LIBRARY MEMHOOK='trace=%e.%n usage=program:victim,file:%e.usage fail=from:victim,nth:7'";
    let Some(mut command) = without_proc(&format!("{words} {}", victim.display())) else { return };
    let outcome = run(command.current_dir(&folder));
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, "failed 1, first 7\n"));
    assert!(fs::read_to_string(folder.join("victim.0")).unwrap().starts_with("= Start\n"));
    assert!(fs::read_to_string(folder.join("victim.usage")).unwrap().contains("Memory usage summary:"));

    let faults = compile(&root().join("tests/c/check_faults.c"), &folder.join("faults"), Link::None).run();
    for (fault, lies) in [
        ("foreign_static", "it lies in faults"),
        ("foreign_mapping", "where it lies is not known, as /proc cannot be read"),
    ] {
        let words = "LD_PRELOAD=$LIBRARY MEMHOOK=check";
        let Some(mut command) = without_proc(&format!("{words} {} {fault}", faults.display())) else {
            return;
        };
        let outcome = run(&mut command);
        let first = outcome.stderr.lines().next().unwrap_or("");
        assert!(first.ends_with(&format!(" is no block of the allocator; {lies}")), "{}", outcome.stderr);
    }
}

/// `ld.so ./program`: the kernel's executable is the dynamic linker then.
#[test]
fn the_program_is_no_dynamic_linker() {
    if is_emulated() {
        println!("skipped: the linker would be the emulator's argument");
        return;
    }
    let folder = folder("tools-linker");
    let victim = compile(&root().join("tests/c/tool_victim.c"), &folder.join("victim"), Link::None).run();
    let bytes = fs::read(&victim).unwrap();
    let strings = bytes.split(|&byte| byte == 0).filter_map(|text| std::str::from_utf8(text).ok());
    let linker = strings.map(str::to_owned).find(|text| text.starts_with("/lib") && text.contains("/ld-"));
    let linker = linker.expect("the program's dynamic linker");
    let words = "trace=%e.%n trace=binary,binary usage=program:victim,file:%e.usage fail=from:victim,nth:7";
    let mut command = Command::new(&linker);
    command.arg("--preload").arg(library()).arg("./victim").env("MEMHOOK", words).current_dir(&folder);
    let outcome = run(&mut command);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, "failed 1, first 7\n"));
    assert!(fs::read_to_string(folder.join("victim.0")).unwrap().starts_with("= Start\n"));
    assert!(fs::read_to_string(folder.join("victim.usage")).unwrap().contains("Memory usage summary:"));
    let trace = fs::read(folder.join("binary")).unwrap();
    let path = victim.display().to_string();
    let named = trace.windows(path.len()).filter(|part| *part == path.as_bytes()).count();
    // As the traced program, and as an object with callers in it.
    assert_eq!(named, 2);
}
