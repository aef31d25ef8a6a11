//! What there is to be read of a session.

use super::counts::Kind;
use super::maps::Way;
use super::session::Session;
use super::sums::{Boxed, Marks};
use super::*;
use core::sync::atomic::Ordering;

/// Sums, and what is shown of them.
pub(super) struct Reading {
    pub(super) usage: memhook_usage,
    pub(super) sums: Boxed,
    /// Whether mappings are counted.
    pub(super) has_maps: bool,
}

impl Reading {
    /// `None` where there is no memory. `anywhere`: also in a signal handler, hence without asking the
    /// allocator.
    pub(super) fn of(session: &Session, anywhere: bool) -> Option<Reading> {
        let marks = Marks::of(session);
        let mut sums = Boxed::of(session)?;
        // What threads have in use is read one after the other: if several went on meanwhile, all of it together was
        // perhaps never in use.
        let error = session.peak.error(sums.threads);
        let told = session.peak.told().filter(|_| Marks::of(session) != marks);
        if let Some(told) = told {
            sums.bound_in_use(told, error as i64);
        }
        let (live_bytes, live_blocks) = (sums.live_bytes(), sums.live_blocks());
        let mapped_bytes = sums.mapped_bytes();
        let peak = session.peak.most(told.unwrap_or(sums.in_use()));
        if let Some(before) = session.before() {
            sums.subtract(before);
        }
        let calls = |kind| {
            let [calls, bytes, failed] = sums.of(kind);
            memhook_usage_calls { calls, bytes, failed }
        };
        let maps = |way| {
            let [calls, bytes, failed] = sums.of_maps(way);
            memhook_usage_calls { calls, bytes, failed }
        };
        let [free_calls, freed] = sums.of_free();
        // ORDERING [none]: Relaxed. A statistic.
        let stack_peak = session.peak.stack.load(Ordering::Relaxed) as u64;
        let mut usage = memhook_usage {
            struct_size: size_of::<memhook_usage>(),
            total: sums.total(),
            peak,
            peak_error: error,
            stack_peak,
            malloc: calls(Kind::Malloc),
            realloc: calls(Kind::Realloc),
            calloc: calls(Kind::Calloc),
            aligned: calls(Kind::Aligned),
            free: memhook_usage_calls { calls: free_calls, bytes: freed, failed: 0 },
            realloc_nomove: sums.in_place,
            realloc_dec: sums.decreasing,
            realloc_free: sums.realloc_free,
            live_bytes,
            live_blocks,
            mmap_read: maps(Way::Read),
            mmap_write: maps(Way::Write),
            mmap_anonymous: maps(Way::Anonymous),
            mremap: maps(Way::Remap),
            munmap: maps(Way::Unmap),
            mremap_nomove: sums.remap_in_place,
            mremap_dec: sums.remap_decreasing,
            mapped_bytes,
            threads: sums.threads,
            has_allocator: 0,
            reserved: 0,
            allocator_system: 0,
            allocator_in_use: 0,
            allocator_free: 0,
            allocator_mapped: 0,
            allocator_mapped_blocks: 0,
            resident: allocator::resident(),
            histogram: core::ptr::null_mut(),
        };
        if !anywhere {
            allocator::view(session.setup().allocator, &mut usage);
        }
        let has_maps = session.setup().flags & MEMHOOK_USAGE_MAPS != 0;
        Some(Reading { usage, sums, has_maps })
    }
}

/// Completes the data file.
pub(super) fn finish_data(session: &Session) {
    let Some(data) = &session.setup().data else { return };
    if let Some(reading) = Reading::of(session, true) {
        data.finish(reading.usage.peak, reading.usage.stack_peak);
    }
}
