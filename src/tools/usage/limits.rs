//! Budgets.

use super::reading::Reading;
use super::*;
use crate::text::Text;

/// No limits.
pub(super) const NONE: memhook_usage_limits = memhook_usage_limits {
    struct_size: size_of::<memhook_usage_limits>(),
    which: 0,
    reserved: 0,
    peak: 0,
    total: 0,
    calls: 0,
    live_bytes: 0,
    live_blocks: 0,
};

const ALL: u32 = MEMHOOK_USAGE_PEAK
    | MEMHOOK_USAGE_TOTAL
    | MEMHOOK_USAGE_CALLS
    | MEMHOOK_USAGE_LIVE_BYTES
    | MEMHOOK_USAGE_LIVE_BLOCKS;

/// Whether all limits are known ones.
pub(super) fn are_known(limits: &memhook_usage_limits) -> bool {
    limits.which & !ALL == 0 && limits.reserved == 0
}

/// Whether something exceeds its limit. `line` says what, or that nothing does.
pub(super) fn exceeded(reading: &Reading, limits: &memhook_usage_limits, line: &mut Text) -> bool {
    let usage = &reading.usage;
    type Row<'a> = (u32, u64, u64, &'a [u8], &'a [u8]);
    let table: [Row; 5] = [
        (MEMHOOK_USAGE_PEAK, usage.peak, limits.peak, b"heap peak ", b" bytes"),
        (MEMHOOK_USAGE_TOTAL, usage.total, limits.total, b"heap total ", b" bytes"),
        (MEMHOOK_USAGE_CALLS, reading.sums.asked(), limits.calls, b"", b" calls"),
        (MEMHOOK_USAGE_LIVE_BYTES, usage.live_bytes, limits.live_bytes, b"in use ", b" bytes"),
        (MEMHOOK_USAGE_LIVE_BLOCKS, usage.live_blocks, limits.live_blocks, b"in use ", b" blocks"),
    ];
    let mut any = false;
    for (which, is, limit, before, behind) in table {
        if limits.which & which == 0 || is <= limit {
            continue;
        }
        line.add(if any { b", " } else { b"usage exceeds its budget: " });
        line.add(before).decimal(is).add(behind).add(b" (limit ").decimal(limit).add(b")");
        any = true;
    }
    if !any {
        line.add(b"usage keeps to its budget");
    }
    any
}
