//! The library's own text under Miri: see README.md.
//!
//! All rooms but `entry`, `start`, `backend`, `selftest` and `sys` are those of `src/`, unchanged. What is
//! declared here in their place does the same with what Miri has: memory, threads, thread-local storage.
#![cfg(test)]
#![allow(dead_code, unused_imports, non_camel_case_types, reason = "a part of the library is run")]
#![allow(deprecated, reason = "names that stable compilers do not know yet")]

#[path = "../../../src/abi.rs"]
mod abi;
#[path = "../../../src/api/mod.rs"]
mod api;
mod backend;
#[path = "../../../src/chain/mod.rs"]
mod chain;
#[path = "../../../src/dispatch/mod.rs"]
mod dispatch;
mod entry;
#[path = "../../../src/glibc/mod.rs"]
mod glibc;
#[path = "../../../src/grace.rs"]
mod grace;
#[path = "../../../src/guard.rs"]
mod guard;
#[path = "../../../src/local.rs"]
mod local;
#[path = "../../../src/ownership.rs"]
mod ownership;
#[path = "../../../src/registry/mod.rs"]
mod registry;
#[path = "../../../src/roster.rs"]
mod roster;
#[cfg(not(feature = "scratch"))]
mod scratch;
#[cfg(feature = "scratch")]
#[path = "../../../src/scratch.rs"]
mod scratch;
mod selftest;
mod start;
mod sys;
#[path = "../../../src/text.rs"]
mod text;

mod tools;
mod want;

mod support;
mod tests;
