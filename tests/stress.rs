//! Everything at once, for a moment: `make stress` is the long form.

use std::process::Command;
use support::{Link, build, run_for};

fn stress(link: Link, seconds: &str, seed: &str) {
    let outcome = run_for(Command::new(build("stress", link)).args([seconds, seed]), 120);
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("hooks left 0"), "{}", outcome.stdout);
}

#[test]
fn r6_every_block_goes_back_to_its_owner_while_hooks_come_and_go() {
    stress(Link::Shared, "4", "1");
}

#[test]
fn r4_every_release_runs_once_in_a_fully_static_program_too() {
    stress(Link::Static, "2", "2");
}
