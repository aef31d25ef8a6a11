//! memhook: allocation hooks for C programs.
//!
//! The interface is C's, in `include/memhook.h`, which is generated from [`abi`] and [`api`].
//! This is the table of contents, in the order of dependence: a room uses only rooms below it
//! (`tests/house.rs` checks that).
//!
//! ```text
//! tools                 what C programs reached for the old hooks to get
//! entry start api       what C sees: the interposed symbols; the first call; memhook_…
//! glibc                 the removed variables, as interceptors
//! dispatch registry     an allocation call; a change of hooks. Siblings: they never meet
//! chain ownership       the immutable list of hooks; which interceptors made a block
//! backend grace guard   the allocator below; read sections; "this thread is inside"
//! local                 memory of hooks for each thread
//! scratch roster text   memory of our own; lists that only grow; lines of text
//! abi sys               what C is compiled against; the machine
//! ```

#![no_std]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, unused_imports, reason = "stubs that do the usual case themselves: entry/short.rs")
)]

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("memhook has entry stubs for x86-64 and aarch64 only: add src/entry/<architecture>.rs");
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
compile_error!("memhook interposes glibc's allocator functions: it needs a Linux target with glibc");
// Cargo builds what tests may link with panic = "unwind", whatever the profile says: let pass in the
// development profile, where nobody installs it from.
#[cfg(not(any(panic = "abort", debug_assertions, doc)))]
compile_error!(
    "memhook must be built with panic = \"abort\": nothing may unwind through an allocation call. \
     To test the release build, use `make test`."
);

pub mod tools;

pub mod api;

mod entry;
mod glibc;
mod selftest;
mod start;

mod dispatch;
mod registry;

mod chain;
mod ownership;

mod backend;
mod grace;
mod guard;
mod local;

mod roster;
mod scratch;
mod text;

pub mod abi;
mod sys;
