//! Reads bytes as a trace, by everything that the crate offers, and says what must be true of any bytes. One file for
//! cargo-fuzz (fuzz_targets/read.rs) and for the test of stable Rust (../tests/fuzz.rs).

use memhook_trace::{Source, Trace};
use std::cell::Cell;
use std::io;
use std::rc::Rc;

/// Bytes, and how many of them were read.
struct Counting {
    bytes: Vec<u8>,
    read: Rc<Cell<u64>>,
}

impl Source for Counting {
    fn length(&self) -> io::Result<u64> {
        self.bytes.length()
    }

    fn read(&self, offset: u64, to: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(offset, to)?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

const PAGE: usize = 4096;
const HEAD: usize = 64;

fn fnv(parts: &[&[u8]]) -> u32 {
    let all = parts.concat();
    all.iter().fold(0x811c_9dc5u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn sum(records: &[u8]) -> u64 {
    let (mut sum, mut sums) = (0u64, 0u64);
    for word in records.chunks(8) {
        let mut bytes = [0; 8];
        bytes[..word.len()].copy_from_slice(word);
        sum = sum.wrapping_add(u64::from_le_bytes(bytes));
        sums = sums.wrapping_add(sum);
    }
    sum ^ sums.rotate_left(32)
}

fn number(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize
}

/// Makes whatever stands at the beginning of a page a chunk whose check and sum are right, so that changes inside get
/// beyond them.
fn mend(bytes: &mut [u8]) {
    let mut at = 0;
    while at + HEAD <= bytes.len() {
        let chunk = &mut bytes[at..];
        if chunk[..HEAD].iter().all(|&byte| byte == 0) {
            at += PAGE;
            continue;
        }
        chunk[..5].copy_from_slice(b"MHTR\x01");
        chunk[6..8].copy_from_slice(&64u16.to_le_bytes());
        let pages = (number(chunk, 8) / PAGE).clamp(1, 1 << 14);
        chunk[8..12].copy_from_slice(&((pages * PAGE) as u32).to_le_bytes());
        let check = fnv(&[&chunk[..12], &chunk[16..48]]);
        chunk[12..16].copy_from_slice(&check.to_le_bytes());
        let end = HEAD + number(chunk, 48).min(pages * PAGE - HEAD);
        if let Some(records) = chunk.get(HEAD..end) {
            let sum = sum(records);
            chunk[56..64].copy_from_slice(&sum.to_le_bytes());
        }
        at += pages * PAGE;
    }
}

/// Reads the bytes as they are, and mended.
pub(crate) fn read(bytes: &[u8]) {
    read_one(bytes.to_vec());
    let mut mended = bytes.to_vec();
    mend(&mut mended);
    read_one(mended);
}

fn read_one(bytes: Vec<u8>) {
    let length = bytes.len() as u64;
    let read = Rc::new(Cell::new(0));
    let trace = Trace::read(Box::new(Counting { bytes, read: read.clone() })).expect("memory can be read");
    let mut events = 0;
    let mut last = std::collections::HashMap::new();
    for event in trace.events() {
        events += 1;
        assert!(events <= trace.count(), "more events than there are");
        // Each once: in the second half of the addresses, where no object should be, and wherever the callers were.
        for &address in event.callers.iter().chain([&event.ticks]) {
            let module = trace.module(address, event.ticks);
            assert!(module.is_none_or(|module| (module.start..module.end).contains(&address)));
        }
        last.insert(event.thread, event.time_ns);
    }
    assert_eq!(events, trace.count());
    assert_eq!(last.len(), trace.threads());
    let _ = trace.head().map(|head| head.executable.display().to_string());
    let mut damaged = 0u64;
    for damage in trace.damage() {
        assert!(damage.offset <= length, "{damage}");
        damaged += damage.bytes;
    }
    // A chunk may claim to be longer than what is left of the file: by no more than the longest.
    assert!(damaged <= 2 * length + (1 << 26), "{damaged} bytes damaged of {length}");
    // The heads, and what they are of twice: when it is opened, and for the events.
    assert!(read.get() <= 4 * length + HEAD as u64, "{} bytes read of {length}", read.get());
}
