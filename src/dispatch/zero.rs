//! calloc's promise, whatever interceptors did to the block.

use super::next::Walk;
use crate::sys;
use core::ffi::c_void;

/// From this size on it is worth asking the kernel which pages were touched.
const LARGE: usize = 128 * 1024;

/// Whether the backend has most likely written to all of a large block: then it is cleared again sooner than the
/// kernel tells of every page. An interceptor writes to its ends, if anywhere.
fn was_cleared(block: usize, bytes: usize) -> bool {
    let page = crate::backend::page_size();
    [bytes / 4, bytes / 2, bytes / 4 * 3]
        .iter()
        .all(|within| sys::is_in_memory((block + within) / page * page))
}

/// Makes `bytes` bytes of the block zero. Pages of the backend's calloc that nobody has touched
/// since are left untouched.
#[inline(never)]
pub(super) fn clear(walk: &Walk, block: *mut c_void, bytes: usize) {
    let (start, len) = walk.zeroed.get();
    let offset = (block as usize).wrapping_sub(start);
    if block.is_null() {
        return;
    }
    let within = start != 0 && offset <= len && bytes <= len - offset;
    if bytes < LARGE || !within || was_cleared(block as usize, bytes) {
        // SAFETY: an interceptor or the backend gave a block of at least this size.
        return unsafe { block.cast::<u8>().write_bytes(0, bytes) };
    }
    let page = crate::backend::page_size();
    let (first, end) = (block as usize / page, (block as usize + bytes).div_ceil(page));
    let mut records = [0u64; 128];
    let mut at = first;
    while at < end {
        let want = (end - at).min(records.len());
        let Some(some) = records.get_mut(..want) else { return };
        let got = sys::pagemap(at, some);
        let (known, touched) = if got == 0 { (want, &[][..]) } else { (got, some.get(..got).unwrap_or(&[])) };
        for i in 0..known {
            // Neither in memory nor swapped out: never written, and anonymous memory reads as zero.
            if touched.get(i).is_some_and(|record| record >> 62 == 0) {
                continue;
            }
            let from = ((at + i) * page).max(block as usize);
            let to = ((at + i + 1) * page).min(block as usize + bytes);
            // SAFETY: a part of the block.
            unsafe { block.cast::<u8>().wrapping_add(from - block as usize).write_bytes(0, to - from) };
        }
        at += known;
    }
}
