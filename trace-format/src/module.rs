//! Shared objects, and the program itself.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// An object as it was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its first address.
    pub start: u64,
    /// The address behind its last.
    pub end: u64,
    /// An address in memory minus this is the address in the object's file.
    pub base: u64,
    /// Since when it is known to have been there, by the processor's clock.
    pub ticks: u64,
    /// Its build-id; empty where it has none.
    pub build_id: Vec<u8>,
    /// Its path, as the dynamic linker knew it.
    pub path: PathBuf,
}

/// All objects of a trace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Modules {
    /// In the order of their ticks.
    pub(crate) all: Vec<Module>,
}

impl Modules {
    pub(crate) fn new(mut all: Vec<Module>) -> Modules {
        all.sort_by_key(|module| module.ticks);
        Modules { all }
    }

    /// The object that was at an address at a time: the latest that had been seen there, or the first that
    /// was seen there at all.
    pub(crate) fn find(&self, address: u64, ticks: u64) -> Option<&Module> {
        let mut found = None;
        for module in self.all.iter().filter(|module| (module.start..module.end).contains(&address)) {
            if found.is_some() && module.ticks > ticks {
                break;
            }
            found = Some(module);
        }
        found
    }
}

/// A path from bytes.
pub(crate) fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::{Module, Modules, path};

    #[test]
    fn a_later_object_at_the_same_place() {
        let module = |ticks, name: &str| Module {
            start: 100,
            end: 200,
            base: 100,
            ticks,
            build_id: Vec::new(),
            path: path(name.as_bytes()),
        };
        let modules = Modules::new(vec![module(50, "second"), module(10, "first")]);
        let at = |ticks| modules.find(150, ticks).map(|module| module.path.display().to_string());
        assert_eq!(at(20).as_deref(), Some("first"));
        assert_eq!(at(60).as_deref(), Some("second"));
        // Another thread's clock was a little behind.
        assert_eq!(at(9).as_deref(), Some("first"));
        assert_eq!(modules.find(200, 60), None);
    }
}
