//! The rules R1 to R8 of the contract, one C program for each promise.

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Link, Outcome, build, compile, expect, folder, root, run};

/// Tests named as their programs: how each is linked, and what it says when all is well.
macro_rules! programs {
    ($($(#[$attribute:meta])* $name:ident => $stdout:literal;)*) => {
        $(#[test]
        $(#[$attribute])*
        fn $name() {
            expect(stringify!($name), Link::Shared, concat!($stdout, "\n"));
        })*
    };
}

programs! {
    r1_change_in_callback => "a call meets none that came in it";
    r1_order_by_priority => "higher first, later first among equals";
    r1_realloc_pairs_under_swap => "every begin was ended by its own set";

    r2_register_in_constructor => "seen before main and in it";
    r2_register_from_threads => "192 hooks came and went";
    r2_register_while_stuck => "nobody waited for the stuck thread";
    r2_register_in_every_callback => "11 hooks registered in callbacks";

    r3_swap_under_load => "no mixture";
    r3_replace_under_load => "the former or the new, never neither";
    r3_listed_under_replace => "one id";
    r3_swap_in_callback => "whole chains only";
    r3_replace_and_swap_wait_for_runners => "replaced and swapped after the callback";
    r3_former_chain_returns => "back as it was, released once each";

    r4_unregister_waits_for_runners => "let go, ended, released, unregistered";
    r4_unregister_in_callback => "three hooks left from inside";
    r4_owner_leaves_in_callback => "released with its block";
    r4_owner_times_out => "released with its block";
    r4_unregister_each_other => "neither waited for the other";
    r4_stuck_callback_spares_later_hook => "unregistered while another was stuck";
    r4_stuck_callback_keeps_no_name => "neither kept the other";
    r4_stuck_callback_spares_other_hooks => "unregistered while another was stuck";
    r4_release_waits_for_another_unregister => "twenty releases waited";
    r4_exit_with_the_loader_locked => "nobody waited";
    r4_removal_from_a_long_chain => "released after the call";
    r4_left_while_another_returns => "noticed, unregistered";
    r4_register_while_unregistering => "none was left";
    r4_unregister_object_while_replacing => "nothing left to replace";
    r4_unregister_timed => "gave up, released later";
    r4_user_is_unmapped_under_load => "no callback after the end";

    r5_callback_uses_libc => "6 rounds, no recursion";
    r5_callback_uses_cpp => "strings in callbacks";
    r5_other_threads_are_seen => "1000 calls seen beside a parked thread";
    r5_suspend_nests => "suspended and resumed";
    r5_this_thread => "to each thread its own";
    r5_this_thread_after_fork => "seen in the child";

    r6_blocks_of_nobody => "twelve blocks of nobody";
    r6_two_stacked_interceptors => "every block went back the way it came";
    r6_million_blocks => "released with the last of 1000000";
    r6_handed_between_threads => "120 hooks came, owned blocks, and went";
    r6_eight_byte_pointers => "8-byte pointers went home";
    r6_low_addresses => "low blocks went home";
    r6_odd_pointers => "odd addresses went home";
    r6_own_pool => "the pool took its own back";
    r6_realloc_corners => "corners kept";
    r6_in_callbacks => "callbacks gave back what others own";
    r6_last_block_in_callback => "released after the callback";
    r6_keepers_see_every_free => "every free was seen";
    r6_of_nobody => "of nobody: those alone";
    r6_malloc_only_owner => "aligned blocks were nobody's";

    r7_reallocarray_overflow => "told: ba";
    r7_books_balance => "the books balance";

    r8_every_entry_point => "13 entry points";
    r8_overflow => "NULL and ENOMEM";
    r8_errno => "errno was left alone";
    r8_null_frees => "nothing, seen by who wants to";
    r8_refused_calls => "refused, seen by who wants to";
    r8_calloc_is_zero => "zero";
    r8_large_calloc_touches_nothing => "untouched";
    r8_alignment => "aligned";
}

fn success(stdout: &str) -> Outcome {
    Outcome { status: 0, stdout: stdout.into(), stderr: String::new() }
}

/// Runs a program with a shared object, `tests/c/<plugin>.c`, as its argument.
fn with_plugin(name: &str, plugin: &str, link: Link) -> Outcome {
    let source = root().join("tests/c").join(format!("{plugin}.c"));
    let object = folder(&format!("{name}-plugin")).join("plugin.so");
    let build_plugin = compile(&source, &object, link);
    let object =
        if link == Link::None { build_plugin.arg("-shared").arg("-fPIC") } else { build_plugin }.run();
    run(Command::new(build(name, Link::Shared)).arg(object))
}

fn c(source: &str) -> PathBuf {
    root().join("tests/c").join(source)
}

/// A plugin with hooks that are tied to it.
fn plugin_in(folder: &Path) -> PathBuf {
    compile(&c("r4_plugin.c"), &folder.join("plugin.so"), Link::Plugin).run()
}

/// A shared object that does not use memhook, for a program that is linked with it.
fn early_in(folder: &Path, source: &str) -> PathBuf {
    compile(&c(source), &folder.join("libearly.so"), Link::None).args(["-shared", "-fPIC"]).run()
}

/// Compiles a program with a shared object behind memhook on the command line: it starts before memhook, and ends
/// after it.
fn behind_memhook(source: &str, folder: &Path, object: PathBuf) -> PathBuf {
    compile(&c(source), &folder.join("program"), Link::Shared)
        .arg("-L")
        .arg(support::dist().join("lib"))
        .arg("-lmemhook")
        .arg(object)
        .run()
}

#[test]
fn r4_dlclose_unregisters() {
    let outcome = with_plugin("r4_dlclose_unregisters", "r4_plugin", Link::Plugin);
    assert_eq!(outcome, success("unloaded and unregistered\n"));
}

#[test]
fn r4_dlclose_waits_for_runners() {
    let outcome = with_plugin("r4_dlclose_waits_for_runners", "r4_plugin", Link::Plugin);
    assert_eq!(outcome, success("unloaded after the callback\n"));
}

#[test]
fn r4_exit_of_a_fork_child() {
    let outcome = with_plugin("r4_exit_of_a_fork_child", "r4_plugin", Link::Plugin);
    assert_eq!(outcome, success("the child ended\n"));
}

#[test]
fn r4_dlclose_after_a_thread_was_killed() {
    let outcome = with_plugin("r4_dlclose_after_a_thread_was_killed", "r4_plugin", Link::Plugin);
    assert_eq!(outcome, success("unloaded after the thread\n"));
}

#[test]
fn r4_dlclose_of_what_a_constructor_loaded() {
    let folder = folder("r4_dlclose_early");
    let plugin = plugin_in(&folder);
    let early = early_in(&folder, "r4_early.c");
    let program = behind_memhook("r4_dlclose_waits_for_runners.c", &folder, early);
    let outcome = run(Command::new(program).arg(&plugin).env("PLUGIN", &plugin));
    assert_eq!(outcome, success("unloaded after the callback\n"));
}

#[test]
fn r4_exit_with_a_runner_in_what_a_constructor_loaded() {
    let folder = folder("r4_exit_early");
    let plugin = plugin_in(&folder);
    let early = early_in(&folder, "r4_early.c");
    let source = "r4_exit_with_a_runner.c";
    let before = compile(&c(source), &folder.join("before"), Link::Shared).arg(&early).run();
    for program in [before, behind_memhook(source, &folder, early)] {
        let outcome = run(Command::new(&program).env("PLUGIN", &plugin));
        assert_eq!(outcome, success("nobody waited\n"), "{}", program.display());
    }
}

#[test]
fn r4_dlclose_where_the_library_came_late() {
    let folder = folder("r4_dlclose_late");
    let plugin = plugin_in(&folder);
    let user = compile(&c("r4_late_user.c"), &folder.join("user.so"), Link::Plugin).run();
    let program = build("r4_dlclose_late", Link::None);
    let outcome = run(Command::new(program).arg(plugin).arg(user));
    assert_eq!(outcome, success("unloaded after the callback\n"));
}

#[test]
fn r4_dlclose_in_callback() {
    let outcome = with_plugin("r4_dlclose_in_callback", "r4_plugin", Link::Plugin);
    assert_eq!(outcome, success("unloaded in a callback\n"));
}

#[test]
fn r4_dlclose_with_live_blocks() {
    let outcome = with_plugin("r4_dlclose_with_live_blocks", "r4_plugin", Link::Plugin);
    let stderr = "memhook: a shared object was unloaded while an interceptor of its owned blocks; these are \
                  leaked. Unregister, and unload when memhook_live_blocks() is 0.\n";
    let expected = Outcome { status: 0, stdout: "unloaded with two blocks\n".into(), stderr: stderr.into() };
    assert_eq!(outcome, expected);
}

#[test]
fn r6_deepbind_plugin() {
    let outcome = with_plugin("r6_deepbind_plugin", "r6_plugin", Link::None);
    assert_eq!(outcome, success("the plugin's blocks went to the backend\n"));
}

#[test]
fn r7_caller_is_exact() {
    for link in [Link::Shared, Link::Archive, Link::Static] {
        let program = build("r7_caller", link);
        for arguments in [&[][..], &["full"]] {
            let outcome = run(Command::new(&program).args(arguments));
            assert_eq!(outcome, success("all callers exact\n"), "{link:?} {arguments:?}");
        }
    }
}

#[test]
fn r7_circumstances() {
    let folder = folder("r7_circumstances");
    let early = early_in(&folder, "r7_early.c");
    let program = behind_memhook("r7_circumstances.c", &folder, early);
    let expected = "constructor before memhook's: 1\nthread exit seen\nfork child seen\nexit seen\n";
    assert_eq!(run(&mut Command::new(program)), success(expected));
}

#[test]
fn r7_event_sequences() {
    let program = build("r7_event_sequences", Link::Shared);
    for arguments in [&[][..], &["full"]] {
        let outcome = run(Command::new(&program).args(arguments));
        assert_eq!(outcome, success(EVENTS), "{arguments:?}");
    }
}

/// What the program prints: each call, and below it what the observer was told.
const EVENTS: &str = "\
malloc(100)
  after malloc 100 align 0 count 0 -> block
free(p)
  before free 0 align 0 count 0 old
malloc(0)
  after malloc 0 align 0 count 0 -> block
free_sized(p, 0)
  before free_sized 0 align 0 count 0 old
malloc(HUGE_SIZE)
  after malloc huge align 0 count 0 -> NULL
free(NULL)
free_sized(NULL, 5)
free_aligned_sized(NULL, 16, 5)
calloc(7, 11)
  after calloc 77 align 0 count 7 -> block
free(p)
  before free 0 align 0 count 0 old
calloc(HUGE_SIZE, 3)
  after calloc SIZE_MAX align 0 count 1000000 -> NULL
calloc(1, HUGE_SIZE)
  after calloc huge align 0 count 1 -> NULL
realloc(NULL, 50)
  after realloc 50 align 0 count 0 -> block
realloc(p, 60)
  begin realloc 60 align 0 count 0 old
  commit realloc 60 align 0 count 0 old -> block
realloc(p, 7000)
  begin realloc 7000 align 0 count 0 old
  commit realloc 7000 align 0 count 0 old -> block
p = realloc(p, HUGE_SIZE)
  begin realloc huge align 0 count 0 old
  abort realloc huge align 0 count 0 old
realloc(p, 0)
  begin realloc 0 align 0 count 0 old
  commit realloc 0 align 0 count 0 old -> NULL
realloc(NULL, 0)
  after realloc 0 align 0 count 0 -> block
free(p)
  before free 0 align 0 count 0 old
realloc(NULL, HUGE_SIZE)
  after realloc huge align 0 count 0 -> NULL
reallocarray(NULL, 5, 6)
  after reallocarray 30 align 0 count 5 -> block
reallocarray(p, 50, 60)
  begin reallocarray 3000 align 0 count 50 old
  commit reallocarray 3000 align 0 count 50 old -> block
free(p)
  before free 0 align 0 count 0 old
reallocarray(NULL, HUGE_SIZE, 6)
  after reallocarray SIZE_MAX align 0 count 1000000 -> NULL
memalign(64, 100)
  after memalign 100 align 64 count 0 -> block
free_aligned_sized(p, 64, 100)
  before free_aligned_sized 100 align 64 count 0 old
memalign(64, HUGE_SIZE)
  after memalign huge align 64 count 0 -> NULL
aligned_alloc(32, 96)
  after aligned_alloc 96 align 32 count 0 -> block
free(p)
  before free 0 align 0 count 0 old
OK(posix_memalign(&p, 128, 200))
  after posix_memalign 200 align 128 count 0 -> block
free(p)
  before free 0 align 0 count 0 old
SAME(posix_memalign(&p, 3, 200), EINVAL)
  after posix_memalign 200 align 3 count 0 -> NULL
SAME(posix_memalign(&p, 4, 200), EINVAL)
  after posix_memalign 200 align 4 count 0 -> NULL
SAME(posix_memalign(&p, 64, HUGE_SIZE), ENOMEM)
  after posix_memalign huge align 64 count 0 -> NULL
valloc(300)
  after valloc 300 align 0 count 0 -> block
free(p)
  before free 0 align 0 count 0 old
pvalloc(400)
  after pvalloc 400 align 0 count 0 -> block
CHECK(malloc_usable_size(p) >= 4096)
SAME(malloc_usable_size(NULL), 0)
free(p)
  before free 0 align 0 count 0 old
memhook_backend_free(memhook_backend_malloc(10))
";
