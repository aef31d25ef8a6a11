//! The report: libmemusage's, line by line and number by number, and behind it what that one does not know.

use super::counts::{BUCKETS, Kind};
use super::data::reason;
use super::maps::Way;
use super::reading::Reading;
use super::sums::Sums;
use crate::scratch;
use crate::sys::kept::{Kept, is_terminal};
use crate::sys::paged::Paged;
use crate::sys::process_id;
use crate::text::{Field, Text};
use crate::tools::path::Path;
use crate::tools::say;

/// Where reports go.
pub(super) struct Target {
    /// The pattern of a file's name, in memory of the library's own; null: standard error.
    pattern: *mut u8,
    len: usize,
    file: Option<Kept>,
}

impl Target {
    /// Standard error.
    pub(super) const fn none() -> Target {
        Target { pattern: core::ptr::null_mut(), len: 0, file: None }
    }

    /// A file. It is opened now: what is wrong is to be known at the start.
    pub(super) fn file(pattern: &[u8]) -> Result<Target, i32> {
        let at = scratch::malloc(pattern.len().max(1));
        if at.is_null() {
            return Err(libc::ENOMEM);
        }
        let mut target = Target { pattern: at, len: pattern.len(), file: None };
        // SAFETY: a fresh block of this length.
        unsafe { at.copy_from_nonoverlapping(pattern.as_ptr(), pattern.len()) };
        target.file = Some(target.open(true)?);
        Ok(target)
    }

    /// A fork child's name has been chosen by nobody: a symbolic link there is somebody else's.
    fn open(&self, is_chosen: bool) -> Result<Kept, i32> {
        Path::open_at_end(self.pattern(), &mut *Path::paged()?, is_chosen).map(Kept::keep)
    }

    fn pattern(&self) -> &[u8] {
        if self.pattern.is_null() {
            return &[];
        }
        // SAFETY: a block of this length, ours.
        unsafe { core::slice::from_raw_parts(self.pattern, self.len) }
    }

    /// Writes a report.
    pub(super) fn write(&self, reading: &Reading) {
        let to_standard_error = || {
            // Nobody is left who could be told.
            let _ = write(reading, 2);
        };
        let Some(kept) = &self.file else {
            return to_standard_error();
        };
        // A child of fork has a file of its own, if the name says so, which is open as long as it writes.
        let differs = self.pattern().windows(2).any(|two| two == b"%p" || two == b"%n");
        let is_childs = differs && !kept.is_own();
        let file = if is_childs { self.open(false) } else { Ok(*kept) };
        match file.and_then(|file| file.fd().map(|fd| (file, fd)).ok_or(libc::EBADF)) {
            Ok((file, fd)) => {
                if let Err(error) = write(reading, fd) {
                    say(&[b"usage: the report in its file is not whole: ", reason(error)]);
                }
                if is_childs {
                    file.close();
                }
            }
            Err(error) => {
                say(&[b"usage: the report comes here, not into its file: ", reason(error)]);
                to_standard_error();
            }
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(kept) = &self.file {
            kept.close();
        }
        // SAFETY: null, or from `scratch::malloc`, and not used any more.
        unsafe { scratch::free(self.pattern) };
    }
}

/// Text with colours, if the reader is a terminal.
struct Lines<'a> {
    text: Text<'a>,
    colours: bool,
}

impl Lines<'_> {
    fn colour(&mut self, code: &[u8]) -> &mut Self {
        if self.colours {
            self.text.add(b"\x1b[").add(code).add(b"m");
        }
        self
    }

    fn add(&mut self, text: &[u8]) -> &mut Self {
        self.text.add(text);
        self
    }

    fn number(&mut self, value: u64, width: usize) -> &mut Self {
        self.text.number(b"", value, 10, false, Field::of(width));
        self
    }

    /// A line of the table: calls, bytes, failed calls.
    fn row(&mut self, name: &[u8], calls: u64, bytes: u64, failed: Option<u64>) -> &mut Self {
        self.colour(b"00;34").add(name).add(b"|").colour(b"0").add(b" ");
        self.number(calls, 10).add(b"   ").number(bytes, 12);
        let Some(failed) = failed else { return self };
        self.add(b"   ");
        if failed != 0 {
            self.colour(b"01;41");
        }
        self.number(failed, 12).colour(b"00;00")
    }

    /// A line of the histogram.
    fn bar(&mut self, count: u64, all: u64, most: u64) {
        match (count * 100).checked_div(all).unwrap_or(0) {
            0 => self.add(b" <1% "),
            percent => self.number(percent, 3).add(b"% "),
        };
        self.colour(b"41;37");
        for _ in 0..(count * 50).checked_div(most).unwrap_or(0) {
            self.add(b"=");
        }
        self.colour(b"0;0").add(b"\n");
    }
}

/// Writes a report to a descriptor. An error says that it is not whole.
pub(super) fn write(reading: &Reading, fd: i32) -> Result<(), i32> {
    let mut buffer = Paged::<[u8; 4096]>::zero().ok_or(libc::ENOMEM)?;
    let mut lines = Lines { text: Text::quietly_to(fd, &mut *buffer), colours: is_terminal(fd) };
    summary(&mut lines, reading);
    histogram(&mut lines, reading);
    beyond(&mut lines, reading);
    lines.text.flush();
    match lines.text.failure() {
        0 => Ok(()),
        error => Err(error),
    }
}

fn summary(lines: &mut Lines, reading: &Reading) {
    let (usage, sums) = (&reading.usage, &reading.sums);
    lines.add(b"\n").colour(b"01;32").add(b"Memory usage summary:").colour(b"0;0");
    lines.add(b" heap total: ").number(usage.total, 0).add(b", heap peak: ").number(usage.peak, 0);
    lines.add(b", stack peak: ").number(usage.stack_peak, 0).add(b"\n");
    lines.colour(b"04;34").add(b"         total calls   total memory   failed calls").colour(b"0").add(b"\n");
    let mut row = |name: &[u8], kind| {
        let [calls, bytes, failed] = sums.of(kind);
        lines.row(name, calls, bytes, Some(failed));
        if kind == Kind::Realloc {
            lines.add(b"  (nomove:").number(sums.in_place, 0).add(b", dec:").number(sums.decreasing, 0);
            lines.add(b", free:").number(sums.realloc_free, 0).add(b")");
        }
        lines.add(b"\n");
    };
    row(b" malloc", Kind::Malloc);
    row(b"realloc", Kind::Realloc);
    row(b" calloc", Kind::Calloc);
    let [calls, bytes] = sums.of_free();
    lines.row(b"   free", calls, bytes, None).add(b"\n");
    if reading.has_maps {
        maps(lines, sums);
    }
}

fn maps(lines: &mut Lines, sums: &Sums) {
    let mut row = |name: &[u8], way| {
        let [calls, bytes, failed] = sums.of_maps(way);
        lines.row(name, calls, bytes, Some(failed));
        if way == Way::Remap {
            lines.add(b"  (nomove: ").number(sums.remap_in_place, 0);
            lines.add(b", dec:").number(sums.remap_decreasing, 0).add(b")");
        }
        lines.add(b"\n");
    };
    row(b"mmap(r)", Way::Read);
    row(b"mmap(w)", Way::Write);
    row(b"mmap(a)", Way::Anonymous);
    row(b" mremap", Way::Remap);
    row(b" munmap", Way::Unmap);
}

fn histogram(lines: &mut Lines, reading: &Reading) {
    let numbers = &reading.sums.histogram;
    lines.colour(b"01;32").add(b"Histogram for block sizes:").colour(b"0;0").add(b"\n");
    let all: u64 = numbers.iter().sum();
    let most = numbers.iter().copied().max().unwrap_or(0);
    for (bucket, &count) in numbers.iter().enumerate().filter(|&(_, &count)| count != 0) {
        if bucket == BUCKETS - 1 {
            lines.add(b"   large   ");
        } else {
            let from = bucket as u64 * 16;
            lines.number(from, 5).add(b"-");
            lines.text.number(b"", from + 15, 10, false, Field { width: 5, left: true, zero: false });
        }
        lines.number(count, 12).add(b" ");
        lines.bar(count, all, most);
    }
}

/// What libmemusage does not know.
fn beyond(lines: &mut Lines, reading: &Reading) {
    let (usage, sums) = (&reading.usage, &reading.sums);
    lines.colour(b"01;32").add(b"Beyond libmemusage:").colour(b"0;0").add(b" process ");
    lines.number(process_id().into(), 0).add(b"\n");
    let [calls, bytes, failed] = sums.of(Kind::Aligned);
    if calls != 0 {
        lines.row(b"aligned", calls, bytes, Some(failed)).add(b"\n");
    }
    let mut named = |name: &[u8], numbers: &[(u64, &[u8])]| {
        lines.colour(b"00;34").add(name).add(b"|").colour(b"0");
        for (number, what) in numbers {
            lines.add(b" ").number(*number, 0).add(what);
        }
        lines.add(b"\n");
    };
    named(
        b" in use",
        &[
            (usage.live_bytes, b" bytes in"),
            (usage.live_blocks, b" blocks, of threads:"),
            (usage.threads, b""),
        ],
    );
    if reading.has_maps {
        named(b" mapped", &[(usage.mapped_bytes, b" bytes")]);
    }
    if usage.peak_error != 0 {
        named(b"   peak", &[(usage.peak_error, b" bytes more or less")]);
    }
    if usage.has_allocator != 0 {
        named(
            b"  taken",
            &[
                (usage.allocator_system, b" bytes by the allocator: in use"),
                (usage.allocator_in_use, b", free"),
                (usage.allocator_free, b"; of it mapped"),
                (usage.allocator_mapped, b" in blocks:"),
                (usage.allocator_mapped_blocks, b""),
            ],
        );
    }
    if usage.resident != 0 {
        named(b"   size", &[(usage.resident, b" bytes of the process are in memory")]);
    }
}
