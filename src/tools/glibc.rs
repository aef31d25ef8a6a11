//! The word `glibc` in the environment variable `MEMHOOK`: glibc's removed variables for objects that come
//! by dlopen into a process that had no such object at its start, and hence pays nothing for them.

use super::words::{Tool, Wrong};
use crate::api;

pub(super) const TOOL: Tool = Tool { name: b"glibc", settings: b"no settings", first: true, start };

fn start(text: &'static [u8], run: bool) -> Result<(), Wrong> {
    if !text.is_empty() {
        return Err(Wrong::Setting(text));
    }
    if run {
        api::glibc::serve_old_variables();
    }
    Ok(())
}
