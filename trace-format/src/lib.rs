//! Reads the binary allocation traces that memhook writes (`docs/TRACE-FORMAT.md`).
//!
//! A trace is read as it is: of a process that goes on, that was killed, whose disk was full; a file that
//! was cut or damaged. Nothing in it makes this crate panic; what cannot be read is skipped and listed.
//!
//! ```no_run
//! # fn main() -> std::io::Result<()> {
//! let trace = memhook_trace::Trace::open("t.1234")?;
//! for event in trace.events() {
//!     println!("{} ns, thread {}: {:?}", event.time_ns, event.thread, event.what);
//! }
//! for damage in trace.damage() {
//!     eprintln!("{damage}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Events come in one order that is true: each thread's own as it was, those of different threads by time,
//! and a block never again made before it was given back, even where clocks of processors disagree a little.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bytes;
mod chunk;
mod clock;
mod merge;
mod module;
mod record;
mod trace;
mod waiting;

pub use bytes::Source;
pub use merge::Events;
pub use module::Module;
pub use record::{Event, Function, What};
pub use trace::{Damage, Head, Trace};
