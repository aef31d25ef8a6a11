//! Sources and binaries that were written for glibc's removed variables.

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Build, Link, Outcome, compile, dist, folder, library, root, run, tool};

fn source(name: &str) -> PathBuf {
    root().join("tests/c").join(name)
}

/// A source that is compiled unchanged with the header for the variables.
fn with_header(name: &str, output: &str, link: Link) -> Build {
    let folder = folder(&format!("glibc-{output}"));
    compile(&source(name), &folder.join("program"), link).arg("-include").arg("memhook/glibc.h")
}

/// As a binary from before glibc 2.34, that knows nothing of the library.
fn old(name: &str, output: &str) -> Build {
    let folder = folder(&format!("glibc-old-{output}"));
    compile(&source(name), &folder.join("program"), Link::None).arg("-DOLD")
}

fn fine(stdout: &str) -> Outcome {
    Outcome { status: 0, stdout: stdout.into(), stderr: String::new() }
}

fn preloaded(library: &Path, program: &Path) -> Outcome {
    run(Command::new(program).env("LD_PRELOAD", library))
}

/// As an old binary, with the library and with glibc's own implementation.
fn says_as_under_libc_malloc_debug(name: &str, output: &str, said: Outcome) {
    old_form_says(name, &[], output, &said);
}

/// The same for a program that is compiled with options.
fn old_form_says(name: &str, options: &[&str], output: &str, said: &Outcome) {
    let program = old(name, output).args(options).run();
    let reference = preloaded(Path::new("libc_malloc_debug.so.0"), &program);
    assert!(&reference == said || reference.stderr.contains("cannot be preloaded"), "{reference:?}");
    assert_eq!(&preloaded(&library(), &program), said, "{name} {options:?}");
}

const ACCOUNTING: &str = "\
8 handed on, 0 calls missed, 100 and 123 bytes
123 bytes given back
0 bytes more
out of force: yes
";

#[test]
fn accounting_program_counts_exactly_with_eight_threads() {
    for link in [Link::Shared, Link::Archive, Link::Static] {
        let program = with_header("glibc_accounting.c", &format!("accounting-{link:?}"), link).run();
        assert_eq!(run(&mut Command::new(program)), fine(ACCOUNTING), "{link:?}");
    }
}

#[test]
fn accounting_program_counts_exactly_as_cpp() {
    let copy = folder("glibc-accounting-source").join("program.cpp");
    std::fs::copy(source("glibc_accounting.c"), &copy).unwrap();
    let output = folder("glibc-accounting-cpp").join("program");
    let program = compile(&copy, &output, Link::Shared).arg("-include").arg("memhook/glibc.h").run();
    assert_eq!(run(&mut Command::new(program)), fine(ACCOUNTING));
}

/// Somebody's program, where it is present.
#[test]
fn classic_program_runs_unchanged() {
    let classic = root().join("../shared/classic.c");
    if !classic.exists() {
        println!("skipped: there is no classic.c");
        return;
    }
    for link in [Link::Shared, Link::Archive] {
        let output = folder(&format!("glibc-classic-{link:?}")).join("classic");
        let program = compile(&classic, &output, link)
            .arg("-O0")
            .arg("-w")
            .arg("-include")
            .arg("memhook/glibc.h")
            .run();
        assert_eq!(run(&mut Command::new(program)), fine("1207\n"), "{link:?}");
    }
}

/// Position-dependent with copies of the variables, and position-independent.
#[test]
fn old_executable_counts_exactly_with_eight_threads() {
    for (name, options) in
        [("fixed", ["-no-pie", "-fno-pie"]), ("pie", ["-pie", "-fPIE"]), ("pic", ["-pie", "-fPIC"])]
    {
        let mut build = old("glibc_accounting.c", &format!("accounting-{name}"));
        build = build.arg("-rdynamic").arg("-include").arg(source("glibc_old.h"));
        for option in options {
            build = build.arg(option);
        }
        assert_eq!(preloaded(&library(), &build.run()), fine(ACCOUNTING), "{name}");
    }
}

#[test]
fn old_shared_object_is_served_under_an_executable_without_the_variables() {
    let folder = folder("glibc-old-plugin");
    let plugin = compile(&source("glibc_old_plugin.c"), &folder.join("libplugin.so"), Link::None);
    plugin.arg("-shared").arg("-fPIC").run();
    let program = compile(&source("glibc_old_user.c"), &folder.join("user"), Link::None);
    let program = program.arg("-Wl,--no-as-needed");
    let program =
        program.arg(folder.join("libplugin.so")).arg(format!("-Wl,-rpath,{}", folder.display())).run();
    assert_eq!(preloaded(&library(), &program), fine("seen 100, and after the end 0\n"));
}

/// What an object needs that comes by dlopen into a process that had none at its start.
#[test]
fn old_shared_object_that_comes_by_dlopen_is_served_where_asked_for() {
    let folder = folder("glibc-old-dlopen");
    let plugin = compile(&source("glibc_old_plugin.c"), &folder.join("plugin.so"), Link::None);
    let plugin = plugin.arg("-shared").arg("-fPIC").run();
    let program = compile(&source("glibc_old_user.c"), &folder.join("user"), Link::None).run();
    for (words, said) in [("", "seen 0, and after the end 0\n"), ("glibc", "seen 100, and after the end 0\n")]
    {
        let mut command = Command::new(&program);
        command.arg(&plugin).env("LD_PRELOAD", library()).env("MEMHOOK", words);
        assert_eq!(run(&mut command), fine(said), "{words}");
    }
}

/// As profilers are: a library that hooks, in a program that was not made for it.
#[test]
fn shared_library_hooks_for_its_program_or_says_what_is_missing() {
    let folder = folder("glibc-library");
    let hooking = compile(&source("glibc_hook_library.c"), &folder.join("libhooking.so"), Link::Plugin);
    let hooking = hooking.arg("-include").arg("memhook/glibc.h").run();
    let program = |name: &str, link| {
        let build = compile(&source("glibc_hook_library_user.c"), &folder.join(name), link);
        build.arg(&hooking).arg(format!("-Wl,-rpath,{}", folder.display())).run()
    };
    assert_eq!(run(&mut Command::new(program("with", Link::Shared))), fine("100 calls\n"));
    let without = program("without", Link::None);
    assert_eq!(preloaded(&library(), &without), fine("100 calls\n"));
    let outcome = run(&mut Command::new(without));
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "0 calls\n"));
    let said = "memhook: __malloc_hook has no effect: the C library comes before libmemhook.so.0";
    assert!(outcome.stderr.starts_with(said) && outcome.stderr.lines().count() == 1, "{}", outcome.stderr);
}

/// Nothing has been allocated when its constructor looks.
#[test]
fn shared_library_finds_no_functions_in_the_variables() {
    let folder = folder("glibc-wary");
    let wary = compile(&source("glibc_wary_library.c"), &folder.join("libwary.so"), Link::Plugin);
    let wary = wary.arg("-include").arg("memhook/glibc.h").run();
    for link in [Link::Shared, Link::None] {
        let program = folder.join(format!("user-{link:?}"));
        let build = compile(&source("glibc_hook_library_user.c"), &program, link);
        let program = build.arg(&wary).arg(format!("-Wl,-rpath,{}", folder.display())).run();
        assert_eq!(preloaded(&library(), &program), fine("100 calls\n"), "{link:?}");
    }
}

/// A program without the variables has nothing in force, linked or preloaded; where somebody asked for them, that
/// they are found is seen.
#[test]
fn nothing_is_in_force_where_nobody_asks_for_the_variables() {
    let text = "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <memhook.h>\n#include <stdio.h>\nint main(void)\n{\n    \
                size_t count = 9;\n    \
                int (*list)(memhook_chain, memhook_hook_info *, size_t, size_t, size_t *);\n    \
                *(void **)&list = dlsym(RTLD_DEFAULT, \"memhook_chain_list\");\n    \
                int result = list(0, NULL, sizeof(memhook_hook_info), 0, &count);\n    \
                printf(\"%d: %zu\\n\", result, count);\n    return 0;\n}\n";
    let folder = folder("glibc-nobody");
    std::fs::write(folder.join("nobody.c"), text).unwrap();
    let program = |name: &str, link| compile(&folder.join("nobody.c"), &folder.join(name), link);
    let linked = program("linked", Link::Shared).arg("-Wl,--no-as-needed").run();
    assert_eq!(run(&mut Command::new(linked)), fine("0: 0\n"));
    assert_eq!(preloaded(&library(), &program("preloaded", Link::None).run()), fine("0: 0\n"));
    let old = program("old", Link::None).arg(source("glibc_old_plugin.c")).run();
    let outcome = preloaded(&library(), &old);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "0: 1\n"), "{outcome:?}");
}

#[test]
fn two_libraries_that_save_each_other_both_see_each_call_once() {
    let program = with_header("glibc_nesting.c", "nesting", Link::Shared).run();
    // In glibc, a callback that forgets to take itself out was called until the stack ended.
    let said = "a 10 and 10, b 10 and 10, rude 32, once 1, gone 1\n";
    assert_eq!(run(&mut Command::new(program)), fine(said));
    let outcome = preloaded(&library(), &old("glibc_nesting.c", "nesting").run());
    assert_eq!(outcome, fine(said));
}

#[test]
fn nested_objects_that_share_a_callback_each_see_their_calls() {
    let said = fine("4 3 1, gone\n");
    let program = with_header("glibc_objects.c", "objects", Link::Shared).run();
    assert_eq!(run(&mut Command::new(program)), said);
    says_as_under_libc_malloc_debug("glibc_objects.c", "objects", said);
}

/// Real-time tests do so to tell C++'s allocations from C's.
#[test]
fn variables_are_toggled_outside_callbacks_and_saved_in_templates() {
    let said = fine("outer 4 4 4, inner 2 2 2\nmallocs 1, news 11, deletes 11\n");
    let program = with_header("glibc_toggle.cpp", "toggle", Link::Shared).run();
    assert_eq!(run(&mut Command::new(program)), said);
    says_as_under_libc_malloc_debug("glibc_toggle.cpp", "toggle", said);
}

#[test]
fn leak_detector_with_headers_and_marks_finds_what_is_left() {
    let said = "left 2 of 107 bytes, wrong 0\ngiven up: yes\n";
    let new = "left 0 of 0 bytes, wrong 0\nmallocs 1004, frees 1004, reallocs 1000\n";
    let program = with_header("glibc_leaks.c", "leaks", Link::Shared).run();
    assert_eq!(run(&mut Command::new(program)), fine(&format!("{said}{new}")));
    let old = fine(&format!("{said}mallocs 1004, frees 1001, reallocs 1000\n"));
    says_as_under_libc_malloc_debug("glibc_leaks.c", "leaks", old);
}

#[test]
fn callbacks_are_one_interceptor_below_all_others() {
    let program = with_header("glibc_beside.c", "beside", Link::Shared).run();
    let said = "\
observer, last, first, late, lowest, __malloc_hook
all: last first late lowest variable
observed 100, the last of the others 124, the variable 132
suspended:
unregistered: 0
without: last first late lowest
still there: 1
again: last first late lowest variable
alone: variable
";
    assert_eq!(run(&mut Command::new(program)), fine(said));
}

#[test]
fn r6_blocks_of_layered_callbacks_go_back_the_way_they_came() {
    let program = with_header("glibc_layers.c", "layers", Link::Shared).run();
    assert_eq!(run(&mut Command::new(program)), fine("a 60, b 40, c 20\na 30, b 20\na 0, b 0, gone\n"));
}

/// In an order in which glibc finds the way too, and in another.
#[test]
fn r6_blocks_of_every_kind_go_back_through_both_of_two_libraries() {
    let said = fine("a 4, b 4\na 5, b 4\na 0, b 0, gone\n");
    for how in ["-DALL", "-DOWN_ONLY"] {
        for when in ["-DEARLY", "-DLATE"] {
            let output = format!("stacked{how}{when}");
            let program = with_header("glibc_stacked.c", &output, Link::Shared).arg(how).arg(when).run();
            assert_eq!(run(&mut Command::new(program)), said, "{output}");
            let program = old("glibc_stacked.c", &output).arg(how).arg(when).run();
            assert_eq!(preloaded(&library(), &program), said, "old, {output}");
            let reference = preloaded(Path::new("libc_malloc_debug.so.0"), &program);
            let is_there = when == "-DEARLY" && !reference.stderr.contains("cannot be preloaded");
            assert!(!is_there || reference == said, "{reference:?}");
        }
    }
}

#[test]
fn callbacks_above_a_set_that_wraps_see_each_free_and_realloc() {
    let said = fine("wrapped 51, resized 50, unwrapped 51\nabove: 50, 50, 51\n");
    let program = with_header("glibc_above_set.c", "above-set", Link::Shared).run();
    assert_eq!(run(&mut Command::new(program)), said);
    says_as_under_libc_malloc_debug("glibc_above_set.c", "above-set-old", said);
}

/// The C library would be given a pointer that it has not made.
#[test]
fn wrapped_block_goes_to_its_set_though_a_later_callback_answers_by_libc_free() {
    let said = fine("wrapped 1, resized 0, unwrapped 1\nabove: 0, 0, 1\n");
    let program = with_header("glibc_above_set.c", "late", Link::Shared).arg("-DLATE").run();
    assert_eq!(run(&mut Command::new(program)), said);
    let program = old("glibc_above_set.c", "late-old").arg("-DLATE").run();
    assert_eq!(preloaded(&library(), &program), said);
}

#[test]
fn r6_blocks_belong_to_who_made_them_where_two_libraries_share_the_variables() {
    let said = fine("a 4, b 1\na 0, b 0\n");
    let output = "stacked-partly";
    let program = with_header("glibc_stacked.c", output, Link::Shared).args(["-DPARTLY", "-DOWN_ONLY"]).run();
    assert_eq!(run(&mut Command::new(program)), said);
    let program = old("glibc_stacked.c", output).args(["-DPARTLY", "-DOWN_ONLY"]).run();
    assert_eq!(preloaded(&library(), &program), said);
}

#[test]
fn r6_only_blocks_that_were_wrapped_are_unwrapped() {
    let program = with_header("glibc_pointers.c", "pointers", Link::Shared).run();
    let said = "\
before: 3 wrapped, 0 unwrapped
from the pool: yes
grows, resized 1
3 wrapped, 2 unwrapped, 2 of the pool freed
still out: yes
outer has 1, 5 wrapped, 4 unwrapped
outer has 0, unregistered: 0
";
    assert_eq!(run(&mut Command::new(program)), fine(said));
}

#[test]
fn callbacks_that_leave_fail_or_meet_fork() {
    let program = with_header("glibc_leaves.c", "leaves", Link::Shared).run();
    let said = "\
errno 5, failed 1 errno 12
in force after longjmp: 0, called: 0
100 children ended well
out 0, asked 1, again 1
";
    assert_eq!(run(&mut Command::new(program)), fine(said));
}

#[test]
fn callback_that_was_left_by_longjmp_leaves_nothing_on_the_stack() {
    let said = fine("seen 5\n");
    let program = with_header("glibc_longjmp.c", "longjmp", Link::Shared).run();
    assert_eq!(run(&mut Command::new(program)), said);
    says_as_under_libc_malloc_debug("glibc_longjmp.c", "longjmp", said);
}

/// Every way in which sources define `__malloc_initialize_hook`, as C and C++.
#[test]
fn variables_are_defined_declared_and_copied_as_sources_do() {
    for form in 1..=4 {
        for cpp in [false, true] {
            let folder = folder(&format!("glibc-form-{form}-{cpp}"));
            let copy = folder.join(if cpp { "form.cpp" } else { "form.c" });
            std::fs::copy(source("glibc_forms.c"), &copy).unwrap();
            let build =
                compile(&copy, &folder.join("form"), Link::Shared).arg("-include").arg("memhook/glibc.h");
            let program = build.arg(format!("-DFORM={form}")).arg("-Wno-ignored-qualifiers").run();
            let outcome = run(&mut Command::new(program));
            assert_eq!(outcome, fine("initialized 1, seen 1\n"), "form {form}, C++: {cpp}");
        }
    }
}

#[test]
fn variables_hold_functions_until_the_first_allocation_and_nothing_after_it() {
    for link in [Link::Shared, Link::Archive] {
        let program = with_header("glibc_start.c", &format!("start-{link:?}"), link).run();
        let said = "a function, works\nnothing after the first allocation\n";
        assert_eq!(run(&mut Command::new(program)), fine(said), "{link:?}");
        let program = with_header("glibc_start.c", &format!("start-late-{link:?}"), link);
        let program = program.arg("-DINTERFACE_FIRST").run();
        let said = "nothing, works\nnothing after the first allocation\n";
        assert_eq!(run(&mut Command::new(program)), fine(said), "{link:?}");
    }
}

/// OpenUSD's callbacks call functions of the allocator that have no hooks.
#[test]
fn blocks_from_the_allocator_below_are_its_own() {
    let program = with_header("glibc_backend.c", "backend", Link::Shared).run();
    let said = "made 1, usable: yes\nmade 4, usable: yes\nmade 6, freed 5\n";
    assert_eq!(run(&mut Command::new(program)), fine(said));
}

/// The old form and glibc's own are in [`says_as_under_libc_malloc_debug`]; here a source with the header, and one that declares
/// the variables itself, linked in each way.
fn says_in_every_form(name: &str, options: &[&str], said: &Outcome) {
    let output = format!("{name}{}", options.concat());
    for link in [Link::Shared, Link::Archive, Link::Static] {
        let program = with_header(name, &format!("{output}-{link:?}"), link).args(options).run();
        assert_eq!(&run(&mut Command::new(program)), said, "{output}, header, {link:?}");
        let program = with_header(name, &format!("{output}-plain-{link:?}"), link);
        let program = program.arg("-DMEMHOOK_PLAIN_VARIABLES").args(options).run();
        assert_eq!(&run(&mut Command::new(program)), said, "{output}, plain variables, {link:?}");
    }
}

#[test]
fn r6_pool_that_stays_in_gets_its_own_blocks_back_and_no_others() {
    for header in [&[][..], &["-DHEADER"]] {
        for (each, said) in [(&[][..], "inner 3, freed 101"), (&["-DEACH"], "inner 300, freed 299")] {
            let options = [header, each].concat();
            let said = fine(&format!("foreign 0, {said}, kept is the pool's: yes\n"));
            old_form_says("glibc_pool.c", &options, &format!("pool{}", options.concat()), &said);
            says_in_every_form("glibc_pool.c", &options, &said);
        }
    }
}

#[test]
fn r6_pool_whose_callbacks_call_one_another_is_right_with_threads() {
    let said = fine("bad 0\n");
    says_in_every_form("glibc_nests.c", &["-pthread"], &said);
    says_as_under_libc_malloc_debug("glibc_nests.c", "nests", said);
}

#[test]
fn r6_callback_may_allocate_any_number_of_blocks_beside_the_one_that_it_passes_on() {
    for options in [&[][..], &["-DGUARD"]] {
        let said = fine(&"mallocs 100, frees 100, after 0\n".repeat(4));
        old_form_says("glibc_scratch.c", options, &format!("scratch{}", options.concat()), &said);
        says_in_every_form("glibc_scratch.c", options, &said);
    }
}

#[test]
fn callback_may_answer_with_an_address_of_nothing() {
    let said = fine("nothings 10, others 10\n");
    says_in_every_form("glibc_nothing.c", &[], &said);
    says_as_under_libc_malloc_debug("glibc_nothing.c", "nothing", said);
}

#[test]
fn callback_that_takes_itself_out_and_throws_is_out() {
    let said = fine("called 1, caught 1, out: yes, called 2\n");
    for link in [Link::Shared, Link::Archive] {
        let program = with_header("glibc_throws.cpp", &format!("throws-{link:?}"), link).run();
        assert_eq!(run(&mut Command::new(program)), said, "{link:?}");
    }
    says_as_under_libc_malloc_debug("glibc_throws.cpp", "throws", said);
}

/// The plugin of glibc_answers.c as an old object, and compiled with the header.
fn answering_plugins(output: &str, options: &[&str]) -> [PathBuf; 2] {
    let folder = folder(&format!("glibc-answers-{output}"));
    let before = compile(&source("glibc_answers.c"), &folder.join("old.so"), Link::None);
    let before = before.arg("-DOLD").arg("-shared").arg("-fPIC").args(options).run();
    let now = compile(&source("glibc_answers.c"), &folder.join("new.so"), Link::Plugin);
    [before, now.arg("-include").arg("memhook/glibc.h").args(options).run()]
}

/// By RTLD_NEXT and RTLD_DEEPBIND an old plugin reaches the C library past us; for one that was linked with us, we come first.
fn answers_and_is_unloaded(output: &str, options: &[&str]) {
    let [before, now] = answering_plugins(output, options);
    let folder = folder(&format!("glibc-answers-user-{output}"));
    let program = compile(&source("glibc_answers_user.c"), &folder.join("user"), Link::None).run();
    let lines = ["0: 100 and 50, gone\n", "1: 100 and 50, gone\n", "2: 100 and 50, gone\n"];
    let mut command = Command::new(&program);
    let old = run(command
        .args(["3".as_ref(), before.as_os_str()])
        .env("LD_PRELOAD", library())
        .env("MEMHOOK", "glibc"));
    assert_eq!(old, fine(&lines.concat()), "{output}, old");
    let new = run(Command::new(&program).args(["1".as_ref(), now.as_os_str()]).env("LD_PRELOAD", library()));
    assert_eq!(new, fine(lines[0]), "{output}, header");
}

#[test]
fn r6_blocks_of_the_c_library_are_not_the_callbacks_own_whatever_way_they_came() {
    answers_and_is_unloaded("as-they-are", &[]);
}

/// What glibc could not do: its program ended at the first block that was given back later.
#[test]
fn r6_callbacks_are_not_called_for_their_blocks_after_their_object_was_unloaded() {
    answers_and_is_unloaded("header", &["-DHEADER"]);
}

#[test]
fn sources_that_cannot_do_with_macros_have_the_variables_themselves() {
    for form in 1..=6 {
        let said = if form < 5 { "before no, seen 1\n" } else { "before yes, seen 1\n" };
        for link in [Link::Shared, Link::Archive, Link::Static] {
            // A fully static program that defines the variable itself has it twice.
            if form == 5 && link != Link::Shared {
                continue;
            }
            let folder = folder(&format!("glibc-plain-{form}-{link:?}"));
            let mut build = compile(&source("glibc_plain.c"), &folder.join("plain"), link);
            if form == 3 || form == 4 {
                build = build.arg("-DMEMHOOK_PLAIN_VARIABLES").arg("-include").arg("memhook/glibc.h");
            }
            let program = build.arg(format!("-DFORM={form}")).arg("-Wno-nested-externs").run();
            assert_eq!(run(&mut Command::new(program)), fine(said), "form {form}, {link:?}");
        }
    }
}

/// A source that takes the variables without volatile, with the header.
#[test]
fn header_declares_without_volatile_where_asked_to() {
    let program = with_header("glibc_plain.c", "without-volatile", Link::Shared);
    let program = program.arg("-DFORM=1").arg("-D__MALLOC_HOOK_VOLATILE=").run();
    assert_eq!(run(&mut Command::new(program)), fine("before no, seen 1\n"));
}

/// The programs that Autoconf's AC_CHECK_FUNCS and AC_CHECK_LIB and CMake's check_function_exists and
/// check_variable_exists compile to see whether there is such a name, reduced.
#[test]
fn configure_scripts_find_the_variables() {
    let autoconf_function = "\
#define NAME innocuous_NAME\n#include <limits.h>\n#undef NAME\nchar NAME (void);\nint main (void)\n{\nreturn NAME ();\n}\n";
    let autoconf_library = "char NAME (void);\nint main (void)\n{\nreturn NAME ();\n}\n";
    let cmake_function =
        "char NAME(void);\nint main(int ac, char* av[]){NAME();if(ac > 1000){return *av[0];}return 0;}\n";
    let cmake_variable = "extern int NAME;\nint main(void){int* p;p = &NAME;return *p;}\n";
    let folder = folder("glibc-configure");
    let names =
        ["__malloc_hook", "__realloc_hook", "__memalign_hook", "__free_hook", "__after_morecore_hook"];
    for name in names.into_iter().chain(["__malloc_initialize_hook"]) {
        let checks = [
            ("autoconf-function", autoconf_function, true),
            ("autoconf-function", autoconf_function, false),
            ("autoconf-library", autoconf_library, false),
            ("cmake-function", cmake_function, false),
            ("cmake-variable", cmake_variable, false),
        ];
        for (check, text, header) in checks {
            let from = folder.join(format!("{check}.c"));
            std::fs::write(&from, text.replace("NAME", name)).unwrap();
            for link in [Link::Shared, Link::Archive] {
                // As a configure script calls the compiler, which warns and is not asked to stop at that.
                let mut build = compile(&from, &folder.join("check"), link).arg("-w");
                if header {
                    build = build.arg("-include").arg("memhook/glibc.h");
                }
                build.run();
            }
        }
    }
}

/// What `<malloc.h>` declared up to glibc 2.23, `__malloc_initialize_hook` included, and with less later.
const OLD_MALLOC_H: &str = "\
#include_next <malloc.h>
#ifndef OLD_HOOKS
#define OLD_HOOKS
#ifdef __cplusplus
extern \"C\" {
#endif
#ifndef __MALLOC_HOOK_VOLATILE
#define __MALLOC_HOOK_VOLATILE volatile
#endif
extern void (*__MALLOC_HOOK_VOLATILE __malloc_initialize_hook)(void);
extern void (*__MALLOC_HOOK_VOLATILE __free_hook)(void *, const void *);
extern void *(*__MALLOC_HOOK_VOLATILE __malloc_hook)(size_t, const void *);
extern void *(*__MALLOC_HOOK_VOLATILE __realloc_hook)(void *, size_t, const void *);
extern void *(*__MALLOC_HOOK_VOLATILE __memalign_hook)(size_t, size_t, const void *);
extern void (*__MALLOC_HOOK_VOLATILE __after_morecore_hook)(void);
#ifdef __cplusplus
}
#endif
#endif
";

/// What a source does with the variables, once it has included what it includes.
const USE: &str = "\
static void *hook(size_t size, const void *caller)
{
    (void)size;
    (void)caller;
    return 0;
}
static void init(void) {}
void (*__MALLOC_HOOK_VOLATILE __malloc_initialize_hook)(void) = init;
int main(void)
{
    void *(*saved)(size_t, const void *) = __malloc_hook;
    int wrong = __free_hook != 0;
    __malloc_hook = hook;
    wrong += *&__malloc_hook != hook;
    __malloc_hook = saved;
    return wrong;
}
";

/// In every language, before and behind `<malloc.h>` as it is and as it was, inside of `extern \"C\"` and beside
/// `using namespace std`. With clang too, where it is installed.
#[test]
fn header_is_clean_in_every_language_and_order() {
    let folder = folder("glibc-languages");
    let old = folder.join("old");
    std::fs::create_dir(&old).unwrap();
    std::fs::write(old.join("malloc.h"), OLD_MALLOC_H).unwrap();
    let ours = "#include <memhook/glibc.h>\n#include <memhook/glibc.h>\n";
    let its = "#include <malloc.h>\n#include <stdlib.h>\n";
    let std = "#include <cstdlib>\nusing namespace std;\n";
    let in_c = format!("extern \"C\" {{\n{ours}#include <malloc.h>\n}}\n{std}{USE}");
    let sources = [
        ("before.c", format!("{ours}{its}{USE}")),
        ("behind.c", format!("{its}{ours}{USE}")),
        ("before.cpp", format!("{ours}{its}{std}{USE}")),
        ("behind.cpp", format!("{its}{std}{ours}{USE}")),
        ("inside.cpp", in_c),
    ];
    for (name, text) in sources {
        let source = folder.join(name);
        std::fs::write(&source, text).unwrap();
        let standards: &[&str] = if name.ends_with(".c") {
            &["c99", "c11", "gnu17", "gnu2x"]
        } else {
            &["c++98", "c++11", "c++17", "gnu++20"]
        };
        let check = |compiler: &str, standard: &str, old: Option<&Path>, linked: bool| {
            let mut build = compile(&source, &folder.join("program"), Link::Shared).by(compiler);
            build = build.arg(format!("-std={standard}")).arg("-pedantic");
            if let Some(old) = old {
                build = build.arg("-isystem").arg(old);
            }
            let program = if linked {
                build.run()
            } else {
                build.arg("-fsyntax-only").arg("-Wno-unused-command-line-argument").run()
            };
            if linked {
                assert_eq!(
                    run(&mut Command::new(program)),
                    fine(""),
                    "{compiler}: {name}, {standard}, {old:?}"
                );
            }
        };
        let [gcc, clang] = if name.ends_with(".c") { ["cc", "clang"] } else { ["g++", "clang++"] };
        let gcc = tool(gcc);
        for (i, standard) in standards.iter().enumerate() {
            check(&gcc, standard, None, i == 0);
            check(&gcc, standard, Some(&old), i == 1);
        }
        if Command::new(clang).arg("--version").output().is_err() {
            println!("skipped: {clang} is not installed");
            continue;
        }
        for (i, standard) in standards.iter().enumerate() {
            check(clang, standard, None, i == 2);
        }
    }
}

/// glibc's own implementation is the reference for what arrives where.
#[test]
fn probe_says_what_it_says_under_libc_malloc_debug() {
    let before = old("glibc_probe.c", "probe").run();
    let reference = preloaded(Path::new("libc_malloc_debug.so.0"), &before);
    if reference.stderr.contains("cannot be preloaded") {
        println!("skipped: libc_malloc_debug is not installed");
        return;
    }
    assert_eq!(reference.status, 0, "{}", reference.stderr);
    // Its pvalloc rounds to one byte more than whole pages, and its posix_memalign clears the pointer on failure;
    // those of glibc up to 2.33 did not.
    let page = run(Command::new("getconf").arg("PAGESIZE")).stdout.trim().parse::<usize>().unwrap();
    let mut expected = reference.stdout;
    for pages in [0, page] {
        let (odd, even) = [pages + 1, pages].map(|n| format!("memalign hook({page}, {n}, here)")).into();
        assert!(expected.contains(&odd), "{expected}");
        expected = expected.replace(&odd, &even);
    }
    let expected = fine(&expected.replace("left alone: 0", "left alone: 1"));
    assert_eq!(preloaded(&library(), &before), expected, "old binary");
    for link in [Link::Shared, Link::Archive] {
        let now = with_header("glibc_probe.c", &format!("probe-{link:?}"), link).run();
        assert_eq!(run(&mut Command::new(now)), expected, "{link:?}");
    }
}

/// Where libc_malloc_debug is below, it calls the callbacks itself, once.
#[test]
fn callbacks_are_called_once_above_libc_malloc_debug() {
    let program = old("glibc_nesting.c", "above-debug").arg("-DPOLITE").run();
    let list = format!("{}:libc_malloc_debug.so.0", library().display());
    let outcome = run(Command::new(program).env("LD_PRELOAD", list));
    if outcome.stderr.contains("cannot be preloaded") {
        println!("skipped: libc_malloc_debug is not installed");
        return;
    }
    assert_eq!(outcome, fine("a 10 and 10, b 10 and 10, rude 0, once 1, gone 1\n"));
}

#[test]
fn installed_header_is_the_repositorys() {
    let installed = std::fs::read_to_string(dist().join("include/memhook/glibc.h")).unwrap();
    assert_eq!(installed, std::fs::read_to_string(root().join("include/memhook/glibc.h")).unwrap());
}
