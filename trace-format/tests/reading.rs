//! Traces made by hand: what is in them comes out, in a true order, and damage does no more than it must.

use memhook_trace::{Event, Function, Source, Trace, What};
use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

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

    fn clock(self, ticks: u64, ns: u64) -> Records {
        self.other(4, &[ticks, ns].map(u64::to_le_bytes).concat())
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

/// With overflow checks, as tests are built, this is the end of a reader that counts without care.
#[test]
fn a_time_may_be_too_far_from_every_clock_record() {
    let records = Records::default().clock(1, (1 << 63) + 1).malloc(u64::MAX, 0x1000, 1);
    let trace = read(&[chunk(2, 1, 0, 0, &records.bytes, true)]);
    assert_eq!(trace.events().map(|event| event.time_ns).collect::<Vec<_>>(), [u64::MAX]);
}

/// What takes time in proportion to the square of this does not end in the time that a test is given.
fn ends<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, end) = mpsc::channel();
    thread::spawn(move || done.send(work()));
    end.recv_timeout(Duration::from_secs(60)).expect("ends, and in a minute")
}

#[test]
#[cfg_attr(miri, ignore = "it is long")]
fn many_clock_records_in_falling_order() {
    let (time, damage) = ends(|| {
        let chunks = (0..400).rev().map(|part: u64| {
            let moments = (1..2500).rev().map(|i| (part * 2500 + i) * 1_000_000);
            let records = moments.fold(Records::default(), |records, at| records.clock(at, at));
            let records = if part == 0 { records.malloc(7_000_000 - 400, 0x1000, 1) } else { records };
            // The first in the order of ticks has the latest.
            chunk(2, 1, 400 - part as u32, 400 - part, &records.bytes, true)
        });
        let trace = read(&chunks.collect::<Vec<_>>());
        (trace.events().map(|event| event.time_ns).collect::<Vec<_>>(), trace.damage().len())
    });
    assert_eq!((time, damage), (vec![7_000_000], 0));
}

#[test]
#[cfg_attr(miri, ignore = "it is long")]
fn many_chunks_that_wait_for_the_same_block() {
    const CHUNKS: u64 = 5000;
    const EACH: u64 = 200;
    let (count, blocks) = ends(|| {
        let records = (0..EACH).fold(Records::default(), |records, _| records.malloc(0, 0x1000, 1)).bytes;
        let chunks = (0..CHUNKS).map(|i| chunk(2, i, 0, 0, &records, true));
        let trace = read(&chunks.collect::<Vec<_>>());
        let blocks = trace.events().filter(|event| event.ticks == 0).count();
        (trace.count(), blocks as u64)
    });
    assert_eq!((count, blocks), (CHUNKS * EACH, CHUNKS * EACH));
}

#[test]
#[cfg_attr(miri, ignore = "it is long")]
fn many_objects_at_the_same_place() {
    const OBJECTS: u64 = 200_000;
    let found = ends(|| {
        let object = |ticks: u64| [[100, 200, 100, ticks].map(u64::to_le_bytes).concat(), vec![0]].concat();
        let chunks = (0..OBJECTS / 1000).map(|part| {
            let range = part * 1000..(part + 1) * 1000;
            let records = range.fold(Records::default(), |records, i| records.other(5, &object(i)));
            chunk(2, 1, part as u32, part, &records.bytes, true)
        });
        let trace = read(&chunks.collect::<Vec<_>>());
        (0..OBJECTS).filter(|&i| trace.module(150, i).is_some_and(|module| module.ticks == i)).count()
    });
    assert_eq!(found as u64, OBJECTS);
}

/// A source with bytes at a few places of many, which counts what is read.
struct Sparse {
    parts: Vec<(u64, Vec<u8>)>,
    length: u64,
    read: Rc<Cell<u64>>,
}

impl Source for Sparse {
    fn length(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn read(&self, offset: u64, to: &mut [u8]) -> io::Result<usize> {
        let count = (to.len() as u64).min(self.length.saturating_sub(offset)) as usize;
        self.read.set(self.read.get() + count as u64);
        for (i, byte) in to.iter_mut().take(count).enumerate() {
            let at = offset + i as u64;
            let part =
                self.parts.iter().find(|(start, bytes)| (*start..start + bytes.len() as u64).contains(&at));
            *byte = part.map_or(0, |(start, bytes)| bytes[(at - start) as usize]);
        }
        Ok(count)
    }

    fn next_data(&self, offset: u64) -> u64 {
        let ends = self.parts.iter().filter(|(start, bytes)| start + bytes.len() as u64 > offset);
        ends.map(|(start, _)| (*start).max(offset)).min().unwrap_or(self.length)
    }

    fn next_hole(&self, offset: u64) -> u64 {
        let is_there =
            |at: u64| self.parts.iter().find(|(s, bytes)| (*s..s + bytes.len() as u64).contains(&at));
        let mut at = offset;
        while let Some((start, bytes)) = is_there(at) {
            at = start + bytes.len() as u64;
        }
        at
    }
}

/// A chunk that claims 64 MiB of records, of which one page is there.
fn long_chunk() -> Vec<u8> {
    let records = Records::default().malloc(1, 0x1000, 1).other(200, &[0; 3000]).malloc(1, 0x2000, 1).bytes;
    let mut bytes = chunk(2, 1, 0, 100, &records, false);
    bytes[8..12].copy_from_slice(&(1u32 << 26).to_le_bytes());
    let check = bytes[..12].iter().chain(&bytes[16..48]);
    let check = check.fold(0x811c_9dc5u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    bytes[12..16].copy_from_slice(&check.to_le_bytes());
    bytes[48..52].copy_from_slice(&((1u32 << 26) - 64).to_le_bytes());
    bytes
}

#[test]
#[cfg_attr(miri, ignore = "it is long")]
fn holes_are_not_read() {
    let small = chunk(2, 1, 0, 50, &Records::default().malloc(1, 0x3000, 1).bytes, true);
    let parts =
        vec![(0, head()), (4 << 30, small.clone()), (8 << 30, long_chunk()), (15 << 30, vec![7; 9000])];
    let there: u64 = parts.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let read = Rc::new(Cell::new(0));
    let source = Sparse { parts: parts.clone(), length: 16 << 30, read: read.clone() };
    let trace = Trace::read(Box::new(source)).expect("it can be read");
    assert_eq!((trace.count(), trace.events().count()), (3, 3));
    let damage: Vec<(u64, u64)> = trace.damage().iter().map(|damage| (damage.offset, damage.bytes)).collect();
    assert_eq!((damage.len(), damage[0]), (2, (15 << 30, 1 << 30)));
    assert!(read.get() <= 4 * there, "{} bytes read of {there}", read.get());

    // The same in a file, where the file system has holes.
    let path = std::env::temp_dir().join(format!("memhook-trace-sparse-{}", std::process::id()));
    let file = File::create_new(&path).expect("a file");
    let made = file.set_len(16 << 30).is_ok();
    for (at, bytes) in &parts {
        file.write_all_at(bytes, *at).expect("written");
    }
    let trace = Trace::open(&path);
    std::fs::remove_file(&path).expect("removed");
    if made {
        let trace = trace.expect("it can be read");
        assert_eq!((trace.count(), trace.events().count(), trace.damage().len()), (3, 3, 2));
    }
}

/// Run once, to begin the corpus of `fuzz` with what is known to have done harm and with what is usual.
#[test]
#[ignore = "it writes the corpus of the fuzz target"]
fn corpus() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/read");
    let write = |name: &str, parts: &[Vec<u8>]| {
        std::fs::write(folder.join(name), parts.concat()).expect("writable");
    };
    write("usual", &[sample()]);
    let records = Records::default().clock(1, (1 << 63) + 1).malloc(u64::MAX, 0x1000, 1);
    write("time-far-from-clock", &[head(), chunk(2, 1, 0, 0, &records.bytes, true)]);
    let falling = (1..150).rev().fold(Records::default(), |records, i| records.clock(i << 20, i * 1000));
    write("clocks-falling", &[chunk(2, 1, 0, 0, &falling.malloc(1, 64, 1).bytes, true)]);
    let same =
        (0..40).fold(Records::default(), |records, _| records.malloc(1, 0x1000, 1)).free(1, 0x1000).bytes;
    let waiting: Vec<Vec<u8>> = (0..4).map(|i| chunk(2, i, 0, i, &same, true)).collect();
    write("chunks-waiting", &waiting);
    let object = |start: u64| {
        [[start, start + 300, 100, start].map(u64::to_le_bytes).concat(), b"\x02ab/lib/x.so".to_vec()]
            .concat()
    };
    let objects = (0..40).fold(Records::default(), |records, i| records.other(5, &object(i * 50)));
    let objects = objects.caller(777).malloc(900, 0x1000, 1);
    write("objects-overlapping", &[head(), chunk(2, 1, 0, 0, &objects.bytes, true)]);
    write("hole-in-chunk", &[head(), long_chunk()]);
    let reallocs = Records::default()
        .malloc(1, 0x1000, 64)
        .call(13, 1 << 14, 10, Some(0x1000), 128)
        .call(14, 0, 10, Some(0x2000), 0)
        .other(3, &8u32.to_le_bytes())
        .call(13, 0, 10, Some(0x2000), u64::MAX)
        .call(14, 1 << 14, 10, None, 0)
        .other(2, &[&9u64.to_le_bytes()[..], &1009u32.to_le_bytes()].concat())
        .call(13, 0, 10, Some(0x2000), 0);
    let done = Records::default().call(14, 0, 10, Some(0), 0).call(7, 1 << 14, 10, None, 7);
    write("reallocs", &[chunk(2, 1, 0, 9, &reallocs.bytes, true), chunk(2, 9, 1, 99, &done.bytes, false)]);
}
