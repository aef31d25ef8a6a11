//! What is run.

mod alone;
mod threads;
mod usage;
