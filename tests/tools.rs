//! The tools on top of the hooks: by their functions, and by the environment variable `MEMHOOK`.

use std::process::Command;
use support::{Link, Outcome, build, compile, expect, folder, library, root, run};

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
by caller: 1, not 0; by object: 1, not 0
X.X.
stopped already: ESRCH
goes on
",
        );
    }
}

/// What tools that count stand on: memory of their own in each thread.
#[test]
fn memory_of_a_hook_in_each_thread() {
    for link in [Link::Shared, Link::Archive] {
        let said = "every block counted\nevery thread told apart\nmemory of ended threads used again\n";
        expect("local", link, said);
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
    ] {
        let found = victim("tool-words", words);
        let found = found.strip_prefix(
            "memhook: MEMHOOK: fail: no object that is loaded at the start has this in its path\n",
        );
        assert_eq!(found.unwrap_or(&victim("tool-words", words)), said, "{words}");
    }
}

/// A word that nobody knows is refused with those that there are, and nothing is started.
#[test]
fn wrong_words_are_refused_with_the_right_ones() {
    let knows = "it knows: nth:N every:N chance:0.P seed:N above:BYTES after:BYTES from:PART-OF-A-PATH, with commas between them";
    for (words, said) in [
        ("fail=every:1 nonsense", "there is no tool 'nonsense'; there is: ".to_owned()),
        ("Fail=every:1", "there is no tool 'Fail'; there is: ".into()),
        ("fail", format!("fail does not know ''; {knows}")),
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

/// What glibc's own functions say of its heap stays true with the library in place.
#[test]
fn allocators_own_view_goes_on_working() {
    for link in [Link::Shared, Link::Archive, Link::Static] {
        let program = build("tool_mallopt", link);
        let outcome = run(Command::new(program).env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0"));
        let said = "above the threshold: mapped, below: heap\nin use counted, trimmed, written\n";
        assert_eq!(outcome, Outcome { status: 0, stdout: said.into(), stderr: String::new() }, "{link:?}");
    }
}
