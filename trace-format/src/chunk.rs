//! Chunks: what each says of itself.

use crate::bytes::{Reader, Source};

/// How long the head of a chunk is.
pub(crate) const HEAD: usize = 64;
/// Chunks begin at multiples of this.
pub(crate) const PAGE: u64 = 4096;
/// No writer makes longer ones.
const LONGEST: u32 = 1 << 26;

pub(crate) const KIND_HEAD: u8 = 1;
pub(crate) const KIND_RECORDS: u8 = 2;

/// A chunk's head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    pub(crate) offset: u64,
    pub(crate) kind: u8,
    pub(crate) bytes: u32,
    pub(crate) thread: u64,
    pub(crate) ticks: u64,
    pub(crate) ns: u64,
    pub(crate) tid: u32,
    pub(crate) number: u32,
    pub(crate) used: u32,
    pub(crate) is_finished: bool,
    sum: u64,
}

/// Why a head is none.
pub(crate) enum NoHead {
    /// Nothing was written here.
    Empty,
    /// It is of a version that is not known.
    Version(u8),
    /// It is not one, or damaged.
    Damaged,
}

fn fnv(parts: &[&[u8]]) -> u32 {
    let all = parts.iter().flat_map(|part| part.iter());
    all.fold(0x811c_9dc5u32, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

impl Chunk {
    /// Reads a head.
    pub(crate) fn parse(head: &[u8; HEAD], offset: u64) -> Result<Chunk, NoHead> {
        if head.iter().all(|&byte| byte == 0) {
            return Err(NoHead::Empty);
        }
        let (fixed, rest) = (head.get(..12).unwrap_or(&[]), head.get(16..48).unwrap_or(&[]));
        let whole = || {
            let mut reader = Reader(head);
            let magic = reader.take(4)?;
            let (version, kind) = (reader.u8()?, reader.u8()?);
            let (head_bytes, bytes, check) = (reader.u16()?, reader.u32()?, reader.u32()?);
            if magic != b"MHTR" || check != fnv(&[fixed, rest]) {
                return None;
            }
            let chunk = Chunk {
                offset,
                kind,
                bytes,
                thread: reader.u64()?,
                ticks: reader.u64()?,
                ns: reader.u64()?,
                tid: reader.u32()?,
                number: reader.u32()?,
                used: reader.u32()?,
                is_finished: reader.u8()? != 0,
                sum: {
                    reader.take(3)?;
                    reader.u64()?
                },
            };
            let sound = usize::from(head_bytes) == HEAD
                && u64::from(bytes).is_multiple_of(PAGE)
                && bytes != 0
                && bytes <= LONGEST;
            (sound || version != 1).then_some((version, chunk))
        };
        match whole() {
            None => Err(NoHead::Damaged),
            Some((1, chunk)) => Ok(chunk),
            Some((version, _)) => Err(NoHead::Version(version)),
        }
    }

    /// The chunk's records, as far as they are there; and what is wrong with them.
    pub(crate) fn records(&self, source: &dyn Source) -> (Vec<u8>, Option<&'static str>) {
        let room = self.bytes as usize - HEAD;
        let used = (self.used as usize).min(room);
        let mut records = vec![0; used];
        let got = source.read(self.offset + HEAD as u64, &mut records).unwrap_or(0);
        records.truncate(got);
        if self.used as usize > room {
            return (records, Some("claims more records than it has room for"));
        }
        if got < used {
            return (records, Some("is cut off"));
        }
        if self.kind == KIND_RECORDS && self.is_finished && self.sum != sum(&records) {
            return (Vec::new(), Some("has another sum than it was finished with"));
        }
        (records, None)
    }
}

/// The sum that a finished chunk has.
fn sum(records: &[u8]) -> u64 {
    let (mut sum, mut sums) = (0u64, 0u64);
    for word in records.chunks(8) {
        sum = sum.wrapping_add(Reader(word).number(word.len()).unwrap_or(0));
        sums = sums.wrapping_add(sum);
    }
    sum ^ sums.rotate_left(32)
}
