//! Every documented error number, provoked; and the self-test.

use std::process::Command;
use support::{Link, Outcome, build, compile, expect, folder, library, root, run};

/// Standard output with the paths that a self-test names cut down to file names.
fn file_names_only(outcome: Outcome) -> Outcome {
    let line = |line: &str| match line.split_once("they lead to ") {
        Some((before, rest)) => {
            let (path, rest) = rest.split_once(". Link").unwrap_or((rest, ""));
            let file = path.rsplit('/').next().unwrap_or(path);
            format!("{before}they lead to {file}. Link{rest}\n")
        }
        None => format!("{line}\n"),
    };
    Outcome { stdout: outcome.stdout.lines().map(line).collect(), ..outcome }
}

fn fine(stdout: &str) -> Outcome {
    Outcome { status: 0, stdout: stdout.into(), stderr: String::new() }
}

const HELP: &str = "Link libmemhook before the library that defines them or preload it; a shared object must \
                    not be loaded with RTLD_DEEPBIND; a fully static program needs the linker options in \
                    memhook-static.opt.";

/// Wrong tables are refused alike whether hooks are in force or not.
const WRONG_TABLES: &str = "\
register NULL table: EINVAL
register NULL out: EINVAL
register struct_size 0: EINVAL
register struct_size too small: EINVAL
register struct_size too large: EINVAL
register struct_size SIZE_MAX: EINVAL
register flag against callbacks: EINVAL
register flag 1 << 20: EINVAL
register flag 1 << 31: EINVAL
register priority INT32_MIN: EINVAL
register no callback: EINVAL
register release only: EINVAL
observe NULL table: EINVAL
observe NULL out: EINVAL
observe struct_size: EINVAL
observe MEMHOOK_KEEPS_POINTERS: EINVAL
observe flag 4: EINVAL
observe release only: EINVAL
";

const REGISTER: &str = "\
replace NULL table: EINVAL
replace struct_size: EINVAL
replace flag 1 << 20: EINVAL
replace flag against callbacks: EINVAL
replace priority INT32_MIN: EINVAL
replace no callback: EINVAL
replace an observer: EINVAL
replace id 0: ESRCH
replace unknown id: ESRCH
replace_observer NULL table: EINVAL
replace_observer struct_size: EINVAL
replace_observer flag 1 << 20: EINVAL
replace_observer no callback: EINVAL
replace_observer an interceptor: EINVAL
replace_observer id 0: ESRCH
replace_observer unknown id: ESRCH
unregister id 0: ESRCH
unregister unknown id: ESRCH
unregister_timed id 0: ESRCH
unregister_timed unknown id: ESRCH
unregister_object NULL: 0
unregister_object unknown: 0
live_blocks NULL: EINVAL
live_blocks id 0: ESRCH
live_blocks unknown id: ESRCH
list NULL count: EINVAL
list NULL infos: EINVAL
list info_size 0: EINVAL
list info_size too large: EINVAL
list unknown chain: EINVAL
list without room: 0
hooks in force: 2
resume without suspend: EINVAL
suspend 32767 times: EAGAIN
suspend once more: EAGAIN
resume once more: EINVAL
unregister: 0
unregister twice: ESRCH
unregister_timed after that: ESRCH
replace_observer after that: ESRCH
unregister_timed: 0
unregister_timed twice: ESRCH
live_blocks of a hook that is gone: 0
live blocks: 0
released: 2
version: 0.1.0
malloc free calloc realloc reallocarray memalign aligned_alloc posix_memalign valloc pvalloc malloc_usable_size free_sized free_aligned_sized ? ?
goes on
";

#[test]
fn wrong_arguments_are_refused_with_nothing_changed() {
    let all = [WRONG_TABLES, WRONG_TABLES, REGISTER].concat();
    expect("err_register", Link::Shared, &all);
    expect("err_register", Link::Archive, &all);
    expect("err_register", Link::Static, &all);
}

const NOT_A_CHAIN: &str = "  add: EINVAL
  add unknown id: EINVAL
  register: EINVAL
  observe: EINVAL
  remove: EINVAL
  swap: EINVAL
  swap NULL: EINVAL
  destroy: EINVAL
";

#[test]
fn chain_objects_refuse_what_is_wrong() {
    let none = [NOT_A_CHAIN, "  list: EINVAL\n"].concat();
    let stdout = format!(
        "\
create NULL: EINVAL
copy NULL: EINVAL
a chain that never was
{none}the chain in force
{NOT_A_CHAIN}add id 0: ESRCH
add unknown id: ESRCH
add what is in it: EEXIST
remove id 0: ESRCH
remove unknown id: ESRCH
remove what is in force only: ESRCH
register NULL table: EINVAL
register NULL out: EINVAL
register struct_size: EINVAL
register flag 4: EINVAL
register no callback: EINVAL
observe NULL table: EINVAL
observe NULL out: EINVAL
observe struct_size: EINVAL
observe flag 4: EINVAL
observe no callback: EINVAL
replace_observer of one not in force: ESRCH
replace of one not in force: ESRCH
remove the observer: 0
remove it twice: ESRCH
unregister it then: ESRCH
add it then: ESRCH
unregister the interceptor: 0
remove it then: ESRCH
released: 2
destroy: 0
a destroyed chain
{none}swap: 0
a consumed chain
{none}swap back, without the former: 0
a chain put back
{none}swap to nothing: 0
released: 3
unregister then: ESRCH
unregister then: ESRCH
unregister then: ESRCH
goes on
"
    );
    expect("err_chain", Link::Shared, &stdout);
    expect("err_chain", Link::Static, &stdout);
}

#[test]
fn errors_tell_who_is_in_a_callback() {
    let stdout = "\
inside a callback:
synchronize: EDEADLK
resume without suspend: EINVAL
unregister itself: EINPROGRESS
unregister itself twice: EALREADY
released: 1
unregister afterwards: ESRCH
unregister_timed itself: EINPROGRESS
released: 1
replace_observer itself: EINPROGRESS
released: 1
swap itself out: EINPROGRESS
released: 1
swap itself aside: EINPROGRESS
destroy the former afterwards: 0
released: 1
remove from a chain object: EINPROGRESS
released: 1
destroy a chain object: EINPROGRESS
released: 1
unregister_object: EINPROGRESS
released: 1
beside a callback:
unregister_timed 0 ns: ETIMEDOUT
hooks in force: 0
unregister then: EALREADY
unregister_timed then: EALREADY
replace_observer then: EALREADY
chain_add then: ESRCH
chain_remove then: EALREADY
chain_remove again: ESRCH
chain_destroy: 0
released: 1
unregister afterwards: ESRCH
unregister_timed 1000 ns: ETIMEDOUT
released: 1
unregister while another waits: EALREADY
unregister_timed while another waits: EALREADY
the other: 0, released: 1
goes on
";
    expect("err_thread", Link::Shared, stdout);
    expect("err_thread", Link::Static, stdout);
}

#[test]
fn a_chain_object_in_use_is_busy() {
    let stdout = "\
list: EBUSY
add: EBUSY
register: EBUSY
observe: EBUSY
remove: EBUSY
swap: EBUSY
swap NULL: EBUSY
destroy: EBUSY
remove then: 0
destroy then: 0
unregister: 0
released: 1
goes on
";
    expect("err_busy", Link::Shared, stdout);
}

/// A hook that another thread is just replacing.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_hook_that_is_being_replaced_is_busy() {
    let of = |what: &str, stop: &str, replace: &str| {
        format!(
            "{what}:\n{stop}unregister: EBUSY\nunregister_timed: EBUSY\nswap: EBUSY\n{replace}: EBUSY\nunregister then: 0\ngoes on\n"
        )
    };
    let stdout = [
        of("interceptor", "", "replace"),
        of("observer", "", "replace_observer"),
        of("trace", "stop: EBUSY\n", "replace_observer"),
        of("usage", "stop: EBUSY\n", "replace"),
        of("fail", "stop: EBUSY\n", "replace"),
        of("check", "stop: EBUSY\n", "replace"),
    ];
    expect("err_replacing", Link::Shared, &stdout.concat());
}

#[test]
fn owner_lists_run_out_and_come_back() {
    let stdout = "\
unregister an owner: EINPROGRESS, 4094 times
unregister one again: EALREADY
register: ENOSPC
replace: ENOSPC
chain_register: 0
swap: ENOSPC
swap NULL: ENOSPC
hooks in the chain object: 1
observe: 0
register one that keeps pointers: 0
seen by 3 hooks
released: 1
unregister the released one: ESRCH
swap then: 0
swap back: 0
released: 1
released: 4093
unregister the last: 0
released: 1
goes on
";
    expect("err_owners", Link::Shared, stdout);
}

/// A hook goes, and those that stay have never been without it.
#[test]
fn owner_lists_run_out_where_hooks_go() {
    let stdout = "\
with 4089 lists: ENOSPC
unregister: ENOSPC
unregister_timed: ENOSPC
unregister_object: ENOSPC
usage_stop: ENOSPC
check_stop: ENOSPC
check_stop again: ENOSPC
check_start then: EALREADY
usage_start: ENOSPC
fail_start: 0
fail_stop: 0
with lists:
check_stop: EINPROGRESS
usage_stop: 0
unregister_object: EINPROGRESS
unregister: EINPROGRESS
check_start: 0
usage_start: 0
usage_stop: 0
check_stop: 0
released: 4081 of 4081
goes on
";
    let program = build("err_owners_tools", Link::Shared);
    assert_eq!(run(&mut Command::new(&program)), fine(stdout));
    let stdout = "\
check_stop: EINPROGRESS
with 4093 lists: ENOSPC
check_start: ENOSPC
check_stop: ESRCH
first handler: fault 1
with lists:
check_start: 0
check_stop: 0
goes on
";
    assert_eq!(run(Command::new(program).arg("check")), fine(stdout));
}

#[test]
fn keys_of_local_memory_run_out() {
    let stdout = "\
64 keys
local_create: ENOSPC
check_start: ENOSPC
usage_start: ENOSPC
trace_start: ENOSPC
trace_start with frames: ENOSPC
frames: 1
goes on
";
    let program = build("err_keys", Link::Shared);
    assert_eq!(run(&mut Command::new(&program)), fine(stdout));
    if support::is_emulated() {
        println!("skipped: seccomp(2) is not to be had under the emulator");
        return;
    }
    // As on Linux before 4.14.
    assert_eq!(run(Command::new(&program).arg("old")), fine("trace_start: ENOTSUP\ngoes on\n"));
}

#[test]
fn lack_of_memory_changes_nothing() {
    let stdout = "\
observe: ENOMEM
register: ENOMEM
unregister: ENOMEM
unregister_timed: ENOMEM
replace: ENOMEM
replace_observer: ENOMEM
chain_create: ENOMEM
chain_copy: ENOMEM
chain_add: ENOMEM
chain_register: ENOMEM
chain_observe: ENOMEM
chain_swap: ENOMEM
chain_swap NULL: ENOMEM
self_test: ENOMEM
self_test_object: ENOMEM
suspend in a new thread: ENOMEM
resume in a new thread: EINVAL
synchronize in a new thread: ENOMEM
list in a new thread: ENOMEM
live_blocks in a new thread: ENOMEM
chain_copy in a new thread: ENOMEM
unregister in a new thread: ENOMEM
observe in a new thread: ENOMEM
observe then: 0
unregister then: 0
chain_add then: 0
replace then: EINPROGRESS
chain_swap then: 0
swap back: 0
unregister: 0
unregister the owner: 0
released: 5
goes on
";
    expect("err_memory", Link::Shared, stdout);
}

#[test]
fn lack_of_memory_leaves_tools_as_they_are() {
    let stdout = "\
usage_start: ENOMEM
trace_start: ENOMEM
fail_start: ENOMEM
fail_nth: ENOMEM
usage_read: ENOMEM
usage_reset: ENOMEM
usage_report: ENOMEM
usage_expect: ENOMEM
usage_stop: ENOMEM
trace_stop: ENOMEM
fail_stop: ENOMEM
check_start: EALREADY
check_stop: ENOMEM
with memory:
usage_read: 0
usage_reset: 0
usage_expect: 0
trace_stop: 0
fail_stop: 0
check_stop: 0
with memory for little:
check_start: ENOMEM
usage_stop: ENOMEM
usage_read: ESRCH
check_start: 0
check_stop: 0
check_stop: ESRCH
goes on
";
    expect("err_tools", Link::Shared, stdout);
}

#[test]
fn tools_refuse_what_is_wrong_and_are_stopped_inside_callbacks() {
    let stdout = "\
usage_start reserved: EINVAL
usage_start batch: EINVAL
usage_expect NULL: EINVAL
usage_expect reserved: EINVAL
fail_nth NULL: EINVAL
usage_stop struct_size: EINVAL
usage_read struct_size: EINVAL
trace_stop struct_size: EINVAL
fail_stop struct_size: EINVAL
fail_stop inside: EINPROGRESS
fail_stop again: ESRCH
check_stop inside: EINPROGRESS
check_stop again: ESRCH
trace_stop inside: EINPROGRESS
trace_stop again: ESRCH
goes on
";
    expect("err_tool_stops", Link::Shared, stdout);
    expect("err_tool_stops", Link::Archive, stdout);
}

/// NULL, nothing, too much; names, numbers, and lines of the log.
#[test]
fn edges_are_as_the_header_says() {
    let stdout = "\
remove from the last chain: EINPROGRESS
  unregister: EALREADY
  unregister_timed: EALREADY
  replace: EALREADY
  unregister then: ESRCH
destroy the last chain: EINPROGRESS
  unregister: EALREADY
  unregister_timed: EALREADY
  replace: EALREADY
  unregister then: ESRCH
swap without the former: EINPROGRESS
  unregister: EALREADY
  unregister_timed: EALREADY
  replace: EALREADY
  unregister then: ESRCH
next of nothing
backend
\"0123456789012345678901234567890\", 1 of 2 stored
\"\", 1 stored
never twice
scratch
goes on
";
    let longer = "x".repeat(699);
    let stderr = format!(
        "\
text|     right|left      |cut|cu|  wide|l     |c|%
-1 2    33 44   | 00055 -2147483648 4294967295 10 beef BEEF
-3 -4 -5 18446744073709551615 -1 -6 7 ffffffffffffffff 0x1234
ffff 1 ff -1|7   |
1 2 3 4 5 6 7 8 9 ten
(null) %q
{longer}
"
    );
    for link in [Link::Shared, Link::Archive, Link::Static] {
        let outcome = run(&mut Command::new(build("err_edges", link)));
        assert_eq!(outcome, Outcome { stderr: stderr.clone(), ..fine(stdout) }, "{link:?}");
    }
}

/// What the self-test says in a program whose calls arrive.
const ARRIVES: &str = "\
bare: 0, missed 0
  memhook: all allocation calls arrive
observed: 0, missed 0
  memhook: all allocation calls arrive
intercepted: 0, missed 0
  memhook: all allocation calls arrive
inside itself: 0, missed 0
  memhook: all allocation calls arrive
suspended: 0, missed 0
  memhook: all allocation calls arrive
no functions: EINVAL
wrong struct_size: EINVAL
nothing to test: ENOENT, missed 0
  memhook: there is no allocation call to test
nowhere to write: 0
no room: 0
little room: 0
  memhook
object at NULL: EINVAL
object on the stack: EINVAL
";

#[test]
fn self_test_finds_all_well_however_linked() {
    let all = [ARRIVES, "unregister: 0\ngoes on\n"].concat();
    expect("selftest_program", Link::Shared, &all);
    expect("selftest_program", Link::Archive, &all);
    expect("selftest_program", Link::Static, &all);
}

#[test]
fn self_test_of_a_static_program_as_an_object() {
    let program = compile(
        &root().join("tests/c/selftest_program.c"),
        &folder("selftest_static_object").join("program"),
        Link::Static,
    );
    let outcome = run(&mut Command::new(program.arg("-DOBJECT").run()));
    assert_eq!(outcome, fine(&[ARRIVES, "object: ENOENT\nunregister: 0\ngoes on\n"].concat()));
}

/// Runs the self-test's program with three plugins; `more` arguments follow.
fn with_plugins(test: &str, more: &[&str]) -> Outcome {
    let folder = folder(test);
    let source = root().join("tests/c/selftest_plugin.c");
    let plugin = |name: &str, calls: bool| {
        let plugin = compile(&source, &folder.join(name), Link::None).arg("-shared").arg("-fPIC");
        let plugin = plugin.arg("-fno-builtin").arg("-Wl,-z,lazy");
        if calls { plugin.arg("-DCALLS").run() } else { plugin.run() }
    };
    let plugins = [plugin("plugin.so", true), plugin("deep.so", true), plugin("bare.so", false)];
    let source = root().join("tests/c/selftest_program.c");
    let program = compile(&source, &folder.join("program"), Link::Shared).run();
    file_names_only(run(Command::new(program).args(plugins).args(more)))
}

fn plugins_found(leads_to: &str) -> Outcome {
    fine(&format!(
        "{ARRIVES}\
plugin: 0, missed 0
  memhook: all allocation calls arrive
deep plugin: ENOLINK, missed 0x7
  memhook: these calls do not arrive: malloc free calloc; they lead to {leads_to}. {HELP}
plugin in a namespace of its own: ENOLINK, missed 0x7
  memhook: these calls do not arrive: malloc free calloc; they lead to libc.so.6. {HELP}
plugin without calls: ENOENT, missed 0
  memhook: there is no allocation call to test
main program: 0, missed 0
  memhook: all allocation calls arrive
libc: 0, missed 0
  memhook: all allocation calls arrive
unregister: EINPROGRESS
goes on
"
    ))
}

#[test]
fn self_test_finds_a_plugin_loaded_with_deepbind() {
    assert_eq!(with_plugins("selftest_deepbind", &[]), plugins_found("libc.so.6"));
}

#[test]
fn self_test_finds_a_plugin_loaded_lazily_with_deepbind() {
    assert_eq!(with_plugins("selftest_deepbind_lazy", &["lazily"]), plugins_found("libc.so.6"));
}

#[test]
fn self_test_finds_a_library_loaded_late() {
    let outcome = file_names_only(run(Command::new(build("selftest_late", Link::None)).arg(library())));
    let text = format!(
        "  memhook: these calls do not arrive: malloc free calloc realloc memalign malloc_usable_size; they \
         lead to libc.so.6. {HELP}\n"
    );
    let stdout = format!(
        "functions: Link has been severed, missed 0x42f\n{text}object: Link has been severed, missed \
         0x42f\n{text}"
    );
    assert_eq!(outcome, fine(&stdout));
}

#[test]
fn self_test_finds_another_interposer_first_in_link_order() {
    let folder = folder("selftest_first");
    let source = |name: &str| root().join("tests/c").join(name);
    compile(&source("selftest_first.c"), &folder.join("libfirst.so"), Link::None)
        .arg("-shared")
        .arg("-fPIC")
        .run();
    let stdout = format!(
        "Link has been severed, missed 0x1\n  memhook: these calls do not arrive: malloc; they lead to \
         libfirst.so. {HELP}\n"
    );
    // In the second, the addresses of functions are those of code of its own that goes on to them.
    for (name, options) in [("program", ["-fPIE", "-pie"]), ("fixed", ["-fno-pie", "-no-pie"])] {
        let program = compile(&source("selftest_behind.c"), &folder.join(name), Link::Shared)
            .args(options)
            .arg(format!("-Wl,-rpath,{}", folder.display()))
            .arg(folder.join("libfirst.so"))
            .run();
        assert_eq!(file_names_only(run(&mut Command::new(program))), fine(&stdout), "{name}");
    }
}

#[test]
fn a_static_program_without_the_options_says_so() {
    let folder = folder("selftest_static_without");
    let program = compile(&root().join("tests/c/selftest_behind.c"), &folder.join("program"), Link::None)
        .arg("-static")
        .arg(support::dist().join("lib/libmemhook.a"))
        .run();
    let expected = Outcome {
        status: -libc::SIGABRT,
        stdout: String::new(),
        stderr:
            "memhook: no allocator below: no other object defines malloc. A fully static program must be \
                 linked with the options in memhook-static.opt.\n"
                .into(),
    };
    assert_eq!(run(&mut Command::new(program)), expected);
}

#[test]
fn scratch_memory_freed_twice_ends_the_process() {
    let expected = Outcome {
        status: -libc::SIGABRT,
        stdout: "NULL is nothing\n".into(),
        stderr: "memhook: memhook_scratch_free: not a block of memhook_scratch_malloc.\n".into(),
    };
    assert_eq!(run(&mut Command::new(build("err_scratch", Link::Shared))), expected);
}
