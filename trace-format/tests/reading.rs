//! Traces made by hand: what is in them comes out, in a true order, and damage does no more than it must.

use memhook_trace::{Event, Function, Trace, What};

/// A thread's records.
#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
    block: u64,
}

fn length(value: u64) -> usize {
    let bytes = 8 - value.leading_zeros() as usize / 8;
    if bytes >= 7 { 7 } else { bytes }
}

impl Records {
    /// A record of a call: what docs/TRACE-FORMAT.md says, by the simplest means.
    fn call(mut self, kind: u16, flags: u16, time: u64, block: Option<u64>, size: u64) -> Records {
        let distance = block.map_or(0, |block| block.wrapping_sub(self.block) as i64);
        self.block = block.unwrap_or(self.block);
        let fields = [time, (distance << 1 ^ distance >> 63) as u64, size];
        let mut head = kind | flags | 1 << 15;
        for (field, shift) in fields.into_iter().zip([4, 7, 10]) {
            head |= (length(field) as u16) << shift;
        }
        self.bytes.extend(head.to_le_bytes());
        self.bytes.push(7);
        for field in fields {
            let bytes = if length(field) == 7 { 8 } else { length(field) };
            self.bytes.extend(&field.to_le_bytes()[..bytes]);
        }
        self
    }

    fn other(mut self, kind: u8, body: &[u8]) -> Records {
        self.bytes.extend((15u16 | 1 << 15).to_le_bytes());
        self.bytes.push(kind);
        self.bytes.extend((body.len() as u16).to_le_bytes());
        self.bytes.extend(body);
        self
    }

    fn caller(self, caller: u64) -> Records {
        self.other(1, &[&[7u8][..], &caller.to_le_bytes()].concat())
    }

    fn malloc(self, time: u64, block: u64, size: u64) -> Records {
        self.call(0, 0, time, Some(block), size)
    }

    fn free(self, time: u64, block: u64) -> Records {
        self.call(1, 0, time, Some(block), 0)
    }
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

/// A chunk of 4096 bytes for each so many bytes of records; a tick is a nanosecond.
fn chunk(kind: u8, thread: u64, number: u32, ticks: u64, records: &[u8], finished: bool) -> Vec<u8> {
    let bytes = (64 + records.len()).next_multiple_of(4096);
    let mut head = Vec::new();
    head.extend(b"MHTR");
    head.extend([1, kind]);
    head.extend(64u16.to_le_bytes());
    head.extend((bytes as u32).to_le_bytes());
    let mut rest = Vec::new();
    rest.extend(thread.to_le_bytes());
    rest.extend(ticks.to_le_bytes());
    rest.extend(ticks.to_le_bytes());
    rest.extend((1000 + thread as u32).to_le_bytes());
    rest.extend(number.to_le_bytes());
    let all = head.iter().chain(&rest);
    let check = all.fold(0x811c_9dc5u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let mut whole = head;
    whole.extend(check.to_le_bytes());
    whole.extend(rest);
    whole.extend((records.len() as u32).to_le_bytes());
    whole.extend([finished.into(), 0, 0, 0]);
    whole.extend(if finished { sum(records) } else { 0 }.to_le_bytes());
    whole.extend(records);
    whole.resize(bytes, 0);
    whole
}

fn head() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(4711u32.to_le_bytes());
    body.extend(0u32.to_le_bytes());
    body.extend(1_700_000_000_000_000_000u64.to_le_bytes());
    body.extend(1u32.to_le_bytes());
    body.extend(62u32.to_le_bytes());
    body.extend([0; 24]);
    body.extend(4096u32.to_le_bytes());
    body.extend(0u32.to_le_bytes());
    body.extend(9u32.to_le_bytes());
    body.extend(b"/bin/true");
    chunk(1, 1, 0, 0, &body, false)
}

fn read(parts: &[Vec<u8>]) -> Trace {
    Trace::read(Box::new(parts.concat())).expect("memory can be read")
}

fn blocks(trace: &Trace) -> Vec<(u64, u64, bool)> {
    let short = |event: Event| match event.what {
        What::Made { block, .. } => (event.thread, block.unwrap_or(0), true),
        What::Freed { block, .. } => (event.thread, block, false),
        other => panic!("{other:?}"),
    };
    trace.events().map(short).collect()
}

#[test]
fn everything_that_a_thread_can_record() {
    let module = [100u64, 200, 100, 5].map(u64::to_le_bytes).concat();
    let records = Records::default()
        .other(5, &[&module[..], &[2, 0xab, 0xcd], b"/lib/x.so"].concat())
        .caller(150)
        .malloc(10, 0x1000, 64)
        .call(13, 1 << 14, 10, Some(0x1000), 128)
        .call(14, 0, 10, Some(0x2000), 0)
        .other(200, b"of a later version")
        .other(3, &8u32.to_le_bytes())
        .call(13, 0, 10, Some(0x2000), u64::MAX)
        .call(14, 1 << 14, 10, None, 0)
        .other(2, &[&9u64.to_le_bytes()[..], &1009u32.to_le_bytes()].concat())
        .call(13, 0, 10, Some(0x2000), 0)
        .call(14, 0, 10, Some(0), 0)
        .call(7, 1 << 14, 10, None, 7);
    let trace = read(&[head(), chunk(2, 1, 0, 1000, &records.bytes, true)]);
    let head = trace.head().expect("a head");
    assert_eq!((head.pid, head.machine, head.by_ticks, head.is_finished), (4711, 62, true, false));
    assert_eq!(head.executable.to_str(), Some("/bin/true"));
    assert_eq!(trace.damage(), []);
    let events: Vec<Event> = trace.events().collect();
    let what: Vec<What> = events.iter().map(|event| event.what).collect();
    assert_eq!(
        what,
        [
            What::Made { block: Some(0x1000), requested: 64, alignment: 0, count: 1 },
            What::ReallocBegins { block: 0x1000, requested: 128, count: 1 },
            What::ReallocDone { old: 0x1000, block: Some(0x2000), requested: 128 },
            What::ReallocBegins { block: 0x2000, requested: u64::MAX, count: 1 },
            What::ReallocFailed { old: 0x2000, requested: u64::MAX },
            What::ReallocBegins { block: 0x2000, requested: 0, count: 1 },
            What::ReallocDone { old: 0x2000, block: None, requested: 0 },
            What::Made { block: None, requested: 7, alignment: 0, count: 1 },
        ]
    );
    let of = |i: usize| (events[i].function, events[i].thread, events[i].tid, events[i].circumstances);
    assert_eq!(of(2), (Function::Reallocarray, 1, 1001, 0));
    assert_eq!(of(4), (Function::Realloc, 1, 1001, 8));
    assert_eq!(of(7), (Function::PosixMemalign, 9, 1009, 8));
    assert_eq!((events[1].time_ns, &events[1].callers[..]), (1020, &[150][..]));
    let found = trace.module(150, events[0].ticks).expect("an object");
    assert_eq!((found.path.to_str(), &found.build_id[..]), (Some("/lib/x.so"), &[0xab, 0xcd][..]));
    assert_eq!((trace.count(), trace.threads()), (8, 2));
}

#[test]
fn threads_are_merged_by_time() {
    let one = Records::default().malloc(10, 0x1000, 1).malloc(20, 0x2000, 1).malloc(20, 0x3000, 1);
    let two = Records::default().malloc(5, 0x5000, 1).malloc(20, 0x6000, 1).malloc(20, 0x7000, 1);
    let trace =
        read(&[head(), chunk(2, 2, 0, 100, &two.bytes, true), chunk(2, 1, 0, 100, &one.bytes, false)]);
    let order: Vec<u64> = blocks(&trace).iter().map(|(_, block, _)| *block).collect();
    assert_eq!(order, [0x5000, 0x1000, 0x6000, 0x2000, 0x7000, 0x3000]);
}

/// The clock of the thread that gets a block may be behind that of the thread that gave it back.
#[test]
fn a_block_is_not_made_before_it_was_given_back() {
    let one = Records::default().malloc(10, 0x1000, 1).free(1000, 0x1000).malloc(2000, 0x9000, 1);
    let two = Records::default().malloc(900, 0x1000, 1).malloc(1, 0x2000, 1).free(1, 0x1000);
    let trace = read(&[head(), chunk(2, 1, 0, 0, &one.bytes, true), chunk(2, 2, 0, 1, &two.bytes, true)]);
    assert_eq!(
        blocks(&trace),
        [
            (1, 0x1000, true),
            (1, 0x1000, false),
            (2, 0x1000, true),
            (2, 0x2000, true),
            (2, 0x1000, false),
            (1, 0x9000, true)
        ]
    );
    // A free that nobody saw is not waited for for ever.
    let one = Records::default().malloc(10, 0x1000, 1).malloc(1_000_000, 0x5000, 1).free(1, 0x1000);
    let two = Records::default().malloc(900, 0x1000, 1);
    let trace = read(&[head(), chunk(2, 1, 0, 0, &one.bytes, true), chunk(2, 2, 0, 1, &two.bytes, true)]);
    let order: Vec<u64> = blocks(&trace).iter().map(|&(thread, ..)| thread).collect();
    assert_eq!(order, [1, 2, 1, 1]);
}

/// However long an event waits for another thread's, those of its own thread stand behind it.
#[test]
fn a_thread_goes_on_in_its_next_chunk() {
    let first = Records::default().malloc(10, 0x1000, 1).malloc(1000, 0x1000, 1).malloc(1, 0x2000, 1);
    let second = Records::default().malloc(10, 0x3000, 1);
    let trace =
        read(&[head(), chunk(2, 1, 0, 0, &first.bytes, true), chunk(2, 1, 1, 2000, &second.bytes, true)]);
    let order: Vec<u64> = blocks(&trace).iter().map(|&(_, block, _)| block).collect();
    assert_eq!(order, [0x1000, 0x1000, 0x2000, 0x3000]);
}

#[test]
fn a_realloc_that_ends_in_the_next_chunk() {
    let first = Records::default().malloc(10, 0x1000, 1).call(13, 0, 1, Some(0x1000), 50);
    let second = Records::default().call(14, 0, 1, Some(0x4000), 0);
    let trace =
        read(&[head(), chunk(2, 1, 0, 100, &first.bytes, true), chunk(2, 1, 1, 200, &second.bytes, true)]);
    let last = trace.events().last().map(|event| event.what);
    assert_eq!(last, Some(What::ReallocDone { old: 0x1000, block: Some(0x4000), requested: 50 }));
}

/// Events of the longest chunk. Miri, which interprets, gets fewer.
const MANY: u64 = if cfg!(miri) { 10 } else { 800 };

/// Two chunks of ten events each, and between them one that is long enough for two pages.
fn sample() -> Vec<u8> {
    let filler = if cfg!(miri) { Records::default().other(200, &[0; 4096]).bytes } else { Vec::new() };
    let make = |from: u64, count: u64| {
        (0..count).fold(Records::default().caller(1), |records, i| records.malloc(1, from + i * 64, 64)).bytes
    };
    [
        head(),
        chunk(2, 1, 0, 100, &make(0x10000, 10), true),
        chunk(2, 1, 1, 200, &[make(0x20000, MANY), filler].concat(), true),
        chunk(2, 2, 0, 150, &make(0x90000, 10), false),
    ]
    .concat()
}

#[test]
fn what_is_damaged_is_skipped_and_named() {
    let whole = sample();
    assert_eq!(Trace::read(Box::new(whole.clone())).expect("memory").count(), 20 + MANY);
    let damaged = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        let trace = Trace::read(Box::new(bytes)).expect("memory");
        let damage: Vec<_> = trace.damage().iter().map(|damage| (damage.offset, damage.bytes)).collect();
        (trace.count(), damage)
    };
    // A finished chunk with another sum; a head; a record that is none; bytes that nobody uses.
    assert_eq!(damaged(4096 + 100), (10 + MANY, vec![(4096, 4096)]));
    assert_eq!(damaged(8192 + 20), (20, vec![(8192, 8192)]));
    let open = whole.len() - 4096;
    assert_eq!(damaged(open + 64 + 14 + 3).0, 20 + MANY);
    assert_eq!(damaged(whole.len() - 1), (20 + MANY, vec![]));
    // The file's head.
    let (count, damage) = damaged(3);
    assert_eq!((count, damage), (20 + MANY, vec![(0, 4096)]));
}

#[test]
fn a_file_that_is_cut_is_read_to_where_it_ends() {
    let whole = sample();
    for length in (0..=whole.len()).step_by(if cfg!(miri) { 6007 } else { 37 }) {
        let trace = Trace::read(Box::new(whole[..length].to_vec())).expect("memory");
        assert!(trace.events().count() as u64 == trace.count(), "{length}");
        // Records lie at the front of each chunk: nearly all of what is there is read.
        let there: u64 = [(4096, 10), (8192, MANY as usize), (whole.len() - 4096, 10)]
            .map(|(start, count)| if length > start + 64 + 14 + 16 * count { count as u64 } else { 0 })
            .iter()
            .sum();
        assert!(trace.count() >= there, "{length}: {} of {there}", trace.count());
    }
    const LONG: usize = if cfg!(miri) { 7000 } else { 70000 };
    for other in [&b""[..], b"MHTR", &[0; LONG], &[0xff; LONG]] {
        let trace = Trace::read(Box::new(other.to_vec())).expect("memory");
        assert_eq!((trace.count(), trace.head()), (0, None));
    }
}

/// Whatever stands in a file: no panic, an end, and as many events in order as there are.
#[test]
fn random_damage_does_no_harm() {
    let whole = sample();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % below
    };
    for _ in 0..if cfg!(miri) { 2 } else { 3000 } {
        let mut bytes = whole.clone();
        for _ in 0..=draw(20) {
            let at = draw(bytes.len());
            match draw(4) {
                0 => bytes[at] = draw(256) as u8,
                1 => bytes.truncate(at + 1),
                2 => bytes[at..].rotate_left(1),
                // Numbers of records, and records of chunks that are not finished.
                _ => {
                    let at =
                        [4096 + 48, 8192 + 48, bytes.len().saturating_sub(4096 - 64)][draw(3)] + draw(60);
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = draw(256) as u8;
                    }
                }
            }
        }
        let trace = Trace::read(Box::new(bytes)).expect("memory");
        assert_eq!(trace.events().count() as u64, trace.count());
    }
}
