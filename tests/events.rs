//! Process events (R9, R10): one C program for each hard moment, with its exact outcome.

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Link, Outcome, folder, library, root, run_for};

/// Runs a program; it must succeed, say this, and write nothing to standard error.
fn expect_run(command: &mut Command, status: i32, stdout: &str) {
    let shown = format!("{command:?}");
    let outcome = run_for(command, 120);
    assert_eq!(outcome, Outcome { status, stdout: stdout.into(), stderr: String::new() }, "{shown}");
}

/// Builds a program under a folder name of its own: tests run at the same time.
fn program(name: &str, test: &str) -> PathBuf {
    let c = root().join("tests/c");
    let source = ["c", "cpp"].map(|end| c.join(format!("{name}.{end}"))).into_iter().find(|s| s.exists());
    let source = source.expect("the program is there");
    let output = folder(&format!("events-{test}")).join(name);
    // Otherwise the compiler takes pairs of malloc and free out.
    support::compile(&source, &output, Link::Shared).arg("-fno-builtin").run()
}

fn shared_object(name: &str, link: Link, test: &str) -> PathBuf {
    let output = folder(&format!("events-{test}")).join(format!("{name}.so"));
    let build = support::compile(&root().join(format!("tests/c/{name}.c")), &output, link);
    match link {
        Link::Plugin => build.run(),
        // A backend: calloc made of malloc is not to become calloc again.
        _ => build.arg("-shared").arg("-fPIC").arg("-fno-builtin").run(),
    }
}

/// Puts the signal-safe backend behind the library.
fn over_bump<'a>(command: &'a mut Command, test: &str) -> &'a mut Command {
    let bump = shared_object("e_bump", Link::None, &format!("{test}-bump"));
    command.env("LD_PRELOAD", format!("{} {}", library().display(), bump.display()))
}

#[test]
fn fork_while_others_allocate_and_register() {
    let program = program("e_fork_storm", "fork-storm");
    expect_run(&mut Command::new(program), 0, "150 of 150 children ended well\n");
}

#[test]
fn fork_inside_a_callback() {
    expect_run(&mut Command::new(program("e_fork_callback", "fork-callback")), 0, "child 42\n");
}

#[test]
fn fork_beside_a_calloc() {
    expect_run(&mut Command::new(program("e_fork_in_calloc", "fork-calloc")), 0, "told as asked\n");
}

#[test]
fn fork_while_chains_are_swapped() {
    let program = program("e_fork_while_swapping", "fork-swapping");
    expect_run(&mut Command::new(program), 0, "alive in every child\n");
}

#[test]
fn fork_in_a_signal_handler() {
    let program = program("e_fork_in_handler", "fork-handler");
    expect_run(&mut Command::new(&program), 0, "forked in every round\n");
    expect_run(Command::new(program).arg("owner"), 0, "forked in every round\n");
}

/// What another thread has in hand when the process forks is taken up in the child, wherever it was.
#[cfg(target_arch = "x86_64")]
#[test]
fn fork_after_every_other_instruction_of_a_change() {
    let program = program("e_fork_steps", "fork-steps");
    let hooks = ["unregister", "empty", "observer", "register", "replace", "swap", "free", "last"];
    for change in hooks.into_iter().chain(["check: free", "check: start", "check: stop"]) {
        let mut command = Command::new(&program);
        // What half-changes a quarantine takes one instruction.
        let every = if change == "check: free" { "1" } else { "2" };
        // fork waits for glibc's locks, which a thread that is being stepped may hold.
        let command = over_bump(command.args([change, every]), "fork-steps");
        expect_run(command, 0, &format!("{change}: forked all the way\n"));
    }
}

#[test]
fn vfork_exec_and_spawn() {
    let said = "exec 100, allocating 100, in a callback 180, spawned 100, live as expected\n";
    expect_run(&mut Command::new(program("e_spawn", "spawn")), 0, said);
}

#[test]
fn signals_under_observers() {
    let mut command = Command::new(program("e_signal_storm", "signals-observer"));
    let command = over_bump(command.arg("observer"), "signals-observer");
    expect_run(command, 0, "signals came, hooks held\n");
}

#[test]
fn signals_under_an_owner() {
    let mut command = Command::new(program("e_signal_storm", "signals-owner"));
    let command = over_bump(command.arg("owner"), "signals-owner");
    expect_run(command, 0, "signals came, hooks held\n");
}

#[cfg(target_arch = "x86_64")]
fn single_step(hook: &str, every: &str) {
    let test = format!("step-{hook}-{every}");
    let mut command = Command::new(program("e_single_step", &test));
    let command = over_bump(command.args([hook, every]), &test);
    expect_run(command, 0, "survived a signal after every instruction\n");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn signal_after_every_instruction_under_an_observer() {
    single_step("observer", "1");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn signal_after_every_instruction_under_an_owner() {
    single_step("owner", "1");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn signal_after_every_third_instruction() {
    single_step("observer", "3");
    single_step("owner", "3");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn idle_again_without_hooks() {
    expect_run(&mut Command::new(program("e_idle_again", "idle-again")), 0, "idle again\n");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn signal_while_a_block_is_counted_at_every_fourth_instruction() {
    expect_run(&mut Command::new(program("e_count_steps", "count-steps")), 0, "every block counted\n");
}

/// `tests/c/e_short_steps.c` in one of its ways.
#[cfg(target_arch = "x86_64")]
fn short_steps(test: &str, ways: &[&[&str]]) {
    let program = program("e_short_steps", test);
    for way in ways {
        let mut command = Command::new(&program);
        expect_run(over_bump(command.args(*way), test), 0, "stepped through\n");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn stack_unwinds_at_every_instruction() {
    for set in ["o", "oooo", "x", "k", "xo", "OO", "X", "Oo"] {
        let ways: [&[&str]; 3] = [&["unwind", set], &["late", set], &["given-up", set]];
        short_steps(&format!("unwind-{set}"), &ways);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn swap_at_every_instruction() {
    let pairs = [
        ["o", "oko"],
        ["o", "xo"],
        ["x", "oo"],
        ["oo", "x"],
        ["oooo", "x"],
        ["xo", "o"],
        ["x", "x"],
        ["O", "o"],
        ["X", "O"],
        ["X", "x"],
    ];
    for [one, two] in pairs {
        short_steps(&format!("swap-{one}-{two}"), &[&["swap", one, two], &["swap", two, one]]);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn hook_that_runs_leaves_after_a_change_at_every_instruction() {
    for set in ["o", "oo", "oooo", "x", "xo", "O", "X"] {
        let ways: [&[&str]; 3] = [&["leave", set, "o"], &["leave", set, "x"], &["leave", set, "k"]];
        short_steps(&format!("leave-{set}"), &ways);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn longjmp_at_every_instruction() {
    for set in ["o", "oooo", "x", "k", "xo", "O", "X"] {
        short_steps(&format!("jump-{set}"), &[&["jump", set]]);
    }
}

#[test]
fn thread_exit_with_destructors() {
    // 40 keys, one of them in two more rounds.
    let said = "8400 destructors in 200 joined threads; exits were seen: yes\n";
    let program = program("e_thread_exit", "thread-exit");
    expect_run(&mut Command::new(&program), 0, said);
    expect_run(Command::new(&program).arg("owner"), 0, said);
}

#[test]
fn late_frees_reach_their_owner() {
    let said = "3 frees or more of each thread came late, all went home\n";
    expect_run(&mut Command::new(program("e_late_frees", "late-frees")), 0, said);
}

#[test]
fn thread_local_objects() {
    expect_run(&mut Command::new(program("e_thread_local", "thread-local")), 0, "400 objects destroyed\n");
}

#[test]
fn thread_variables_of_loaded_objects_in_callbacks() {
    let plugin = shared_object("e_thread_variables_plugin", Link::Plugin, "variables-plugin");
    let copies: Vec<_> = (0..18).map(|i| plugin.with_file_name(format!("copy{i}.so"))).collect();
    for copy in &copies {
        std::fs::copy(&plugin, copy).expect("writable");
    }
    let mut command = Command::new(program("e_thread_variables", "variables"));
    expect_run(command.args(copies), 0, "each thread had its own\n");
}

#[test]
fn short_threads_do_not_add_up() {
    expect_run(&mut Command::new(program("e_short_threads", "short-threads")), 0, "did not grow\n");
}

fn ending(how: &str, status: i32, stdout: &str) {
    let program = program("e_exit", &format!("exit-{how}"));
    expect_run(Command::new(program).arg(how), status, stdout);
}

#[test]
fn allocation_at_exit() {
    ending("return", 0, "main returns\nhandler seen\ndestructor seen\n");
}

/// In the executable, the library's exit handler runs before the destructors. As a shared library
/// it runs behind the destructors of all that depends on it.
#[test]
fn exit_is_a_circumstance() {
    let output = folder("events-exit-circumstance").join("e_exit");
    let program = support::compile(&root().join("tests/c/e_exit.c"), &output, Link::Archive);
    let said = "main returns\nhandler seen\ndestructor seen\nas process exit\n";
    expect_run(Command::new(program.arg("-fno-builtin").run()).arg("circumstance"), 0, said);
}

#[test]
fn exit_inside_a_callback() {
    ending("exit", 7, "handler not seen\ndestructor not seen\n");
    ending("quick", 8, "");
}

#[test]
fn abort_inside_a_callback() {
    ending("abort", -libc::SIGABRT, "");
}

#[test]
fn longjmp_out_of_a_callback() {
    let program = program("e_leave", "longjmp");
    expect_run(Command::new(&program).arg("longjmp"), 0, "repaired\n");
    expect_run(Command::new(&program).args(["longjmp", "interceptor"]), 0, "repaired\n");
    expect_run(Command::new(&program).args(["longjmp", "interceptor", "free"]), 0, "repaired\n");
    expect_run(Command::new(&program).args(["longjmp", "owner"]), 0, "repaired\n");
    expect_run(Command::new(&program).args(["longjmp", "owner", "free"]), 0, "repaired\n");
}

#[test]
fn exception_out_of_a_callback() {
    let program = program("e_leave", "exception");
    expect_run(Command::new(&program).arg("throw"), 0, "repaired\n");
    expect_run(Command::new(&program).args(["throw", "interceptor"]), 0, "repaired\n");
    expect_run(Command::new(&program).args(["throw", "interceptor", "free"]), 0, "repaired\n");
    expect_run(Command::new(&program).args(["throw", "owner"]), 0, "repaired\n");
    expect_run(Command::new(&program).args(["throw", "owner", "free"]), 0, "repaired\n");
}

#[test]
fn pthread_exit_out_of_a_callback() {
    expect_run(Command::new(program("e_thread_ends", "thread-ends")).arg("exit"), 0, "unregistered\n");
}

#[test]
fn pthread_cancel_inside_a_callback() {
    expect_run(Command::new(program("e_thread_ends", "thread-cancel")).arg("cancel"), 0, "unregistered\n");
}

#[test]
fn dlopen_and_dlclose_under_load() {
    let plugin = shared_object("e_plugin", Link::Plugin, "dlopen-plugin");
    let mut command = Command::new(program("e_dlopen", "dlopen"));
    expect_run(command.arg(plugin), 0, "300 times loaded and unloaded\n");
}

#[test]
fn marks_cost_nothing_before_the_first_owned_block() {
    let said = "nothing before the first owned block\n";
    expect_run(&mut Command::new(program("e_footprint", "footprint")), 0, said);
}

#[test]
fn address_space_runs_out() {
    expect_run(&mut Command::new(program("e_memory_limit", "memory-limit")), 0, "every limit was survived\n");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn memory_fails_at_every_point_in_turn() {
    let said = "memory failed at every point in turn\n";
    expect_run(&mut Command::new(program("e_memory_points", "memory-points")), 0, said);
}

#[test]
fn owned_reallocs_while_address_space_is_short() {
    let said = "moved or refused, none lost\n";
    expect_run(&mut Command::new(program("e_realloc_limit", "realloc-limit")), 0, said);
}

#[test]
fn removals_with_membarrier() {
    expect_run(&mut Command::new(program("e_removals", "removals")), 0, "6000 removals\n");
}

fn refused(test: &str, error: i32, program: &Path, stdout: &str) {
    let wrapper = support::compile(
        &root().join("tests/c/e_refuse.c"),
        &folder(&format!("events-{test}-refuse")).join("e_refuse"),
        Link::None,
    );
    // Under an emulator: refuses what that asks for.
    let wrapper = wrapper.native().run();
    expect_run(Command::new(wrapper).arg(error.to_string()).arg(program), 0, stdout);
}

#[test]
fn membarrier_refused_from_the_start() {
    refused("removals", libc::ENOSYS, &program("e_removals", "removals-refused"), "6000 removals\n");
    let storm = program("e_fork_storm", "fork-storm-refused");
    refused("storm", libc::EPERM, &storm, "150 of 150 children ended well\n");
}

/// What an allocation call costs other processors: nothing, where the kernel has membarrier(2). Where not, the fences are
/// found that take its place.
#[cfg(target_arch = "x86_64")]
#[test]
fn calls_execute_no_locked_instruction_and_no_fence() {
    const PRIVATE_EXPEDITED: libc::c_long = 8;
    // SAFETY: asks which commands there are.
    let commands = unsafe { libc::syscall(libc::SYS_membarrier, 0, 0, 0) };
    let program = program("e_no_locks", "no-locks");
    let kinds = [
        "an observer",
        "four observers",
        "an interceptor",
        "two, and an observer",
        "a child of one in a hurry",
        "a child that was in a hurry",
    ];
    let of_all = |what: &str| kinds.map(|kind| format!("{kind}: {what}\n")).concat();
    let said = format!("no hook: none\n{}", of_all("none"));
    if commands > 0 && commands & PRIVATE_EXPEDITED != 0 {
        expect_run(&mut Command::new(&program), 0, &said);
    } else {
        println!("skipped: the kernel has no membarrier(2)");
    }
    let output = folder("events-no-locks-refuse").join("e_refuse");
    let wrapper = support::compile(&root().join("tests/c/e_refuse.c"), &output, Link::None).run();
    let outcome = run_for(Command::new(wrapper).arg(libc::ENOSYS.to_string()).arg(program), 120);
    assert_eq!((outcome.status, outcome.stdout), (3, format!("no hook: none\n{}", of_all("some"))));
}

#[test]
fn membarrier_taken_away_later() {
    expect_run(Command::new(program("e_removals", "removals-later")).arg("later"), 0, "6000 removals\n");
}
