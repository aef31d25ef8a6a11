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
    /// Addresses at which objects begin or end, in order: ranges between them belong to the same objects throughout.
    borders: Vec<u64>,
    /// A tree over those ranges, as many leaves as a power of two: the root is at 1, the children of `i` at 2 i and
    /// 2 i + 1. Each object stands, by its place in `all`, in the few nodes that together cover its ranges.
    nodes: Vec<Vec<usize>>,
}

impl Modules {
    pub(crate) fn new(mut all: Vec<Module>) -> Modules {
        all.sort_by_key(|module| module.ticks);
        let mut borders: Vec<u64> = all.iter().flat_map(|module| [module.start, module.end]).collect();
        borders.sort_unstable();
        borders.dedup();
        let leaves = borders.len().next_power_of_two();
        let mut nodes = vec![Vec::new(); 2 * leaves];
        for (place, module) in all.iter().enumerate().filter(|(_, module)| module.start < module.end) {
            let leaf = |border: u64| leaves + borders.partition_point(|&at| at < border);
            let (mut from, mut to) = (leaf(module.start), leaf(module.end));
            while from < to {
                if from % 2 == 1 {
                    nodes.get_mut(from).into_iter().for_each(|node| node.push(place));
                    from += 1;
                }
                if to % 2 == 1 {
                    to -= 1;
                    nodes.get_mut(to).into_iter().for_each(|node| node.push(place));
                }
                (from, to) = (from / 2, to / 2);
            }
        }
        Modules { all, borders, nodes }
    }

    /// The object that was at an address at a time: the latest that had been seen there, or the first that
    /// was seen there at all.
    pub(crate) fn find(&self, address: u64, ticks: u64) -> Option<&Module> {
        let range = self.borders.partition_point(|&at| at <= address).checked_sub(1)?;
        let (mut latest, mut first) = (None, None);
        let mut at = self.nodes.len() / 2 + range;
        while at > 0 {
            let node = self.nodes.get(at)?;
            let is_seen = |&place: &usize| self.all.get(place).is_some_and(|module| module.ticks <= ticks);
            latest = latest.max(node.partition_point(is_seen).checked_sub(1).and_then(|i| node.get(i)));
            first = node.first().into_iter().chain(first).min();
            at /= 2;
        }
        self.all.get(*latest.or(first)?)
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

    /// Compared with looking through all of them.
    #[test]
    fn objects_that_overlap() {
        let mut state = 1u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for count in [0, 1, 2, 7, 60] {
            let module = |start, end, ticks| Module {
                start,
                end,
                base: ticks,
                ticks: ticks / 4,
                build_id: Vec::new(),
                path: path(b"x"),
            };
            let all: Vec<Module> =
                (0..count).map(|i| module(draw(50), draw(50), draw(40) * 100 + i)).collect();
            let modules = Modules::new(all);
            for (address, ticks) in
                (0..52).flat_map(|address| (0..1010).step_by(3).map(move |t| (address, t)))
            {
                let mut there = modules.all.iter().filter(|m| (m.start..m.end).contains(&address));
                let first = there.clone().next();
                let right = there.clone().rfind(|m| m.ticks <= ticks).or(first);
                assert_eq!(modules.find(address, ticks), right, "{count}: {address}, {ticks}");
                assert!(there.next().is_some() == right.is_some());
            }
        }
    }
}
