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
        let start = self.offset.saturating_add(HEAD as u64);
        let there = source.length().unwrap_or(0).saturating_sub(start);
        let got = usize::try_from(there).unwrap_or(usize::MAX).min(used);
        // Zeroes that the system makes when they are touched: holes are not.
        let mut records = vec![0; got];
        let mut data = Vec::new();
        let (mut at, mut got) = (0, got);
        while at < got {
            // `None` behind the end of what is wanted.
            let within = |offset: u64| {
                let at = usize::try_from(offset.saturating_sub(start)).ok()?;
                (at < got).then_some(at)
            };
            let Some(from) = within(source.next_data(start + at as u64)) else { break };
            let from = from.max(at);
            let to = within(source.next_hole(start + from as u64)).unwrap_or(got).max(from + 1).min(got);
            let place = records.get_mut(from..to).unwrap_or(&mut []);
            let read = source.read(start + from as u64, place).unwrap_or(0);
            data.push((from, from + read));
            if from + read < to {
                got = from + read;
            }
            at = to;
        }
        records.truncate(got);
        if self.used as usize > room {
            return (records, Some("claims more records than it has room for"));
        }
        if got < used {
            return (records, Some("is cut off"));
        }
        if self.kind == KIND_RECORDS && self.is_finished && self.sum != sum(&records, &data) {
            return (Vec::new(), Some("has another sum than it was finished with"));
        }
        (records, None)
    }
}

/// The sum that a finished chunk has. What lies between `data` is zero.
fn sum(records: &[u8], data: &[(usize, usize)]) -> u64 {
    let (mut sum, mut sums, mut at) = (0u64, 0u64, 0);
    for &(from, to) in data {
        // Whole words of zeroes leave the first as it is, and add it to the second.
        let skipped = from.saturating_sub(at) / 8;
        sums = sums.wrapping_add(sum.wrapping_mul(skipped as u64));
        at += 8 * skipped;
        let end = to.next_multiple_of(8).min(records.len()).max(at);
        for word in records.get(at..end).unwrap_or(&[]).chunks(8) {
            sum = sum.wrapping_add(Reader(word).number(word.len()).unwrap_or(0));
            sums = sums.wrapping_add(sum);
        }
        at = end;
    }
    let skipped = records.len().saturating_sub(at).div_ceil(8);
    sums = sums.wrapping_add(sum.wrapping_mul(skipped as u64));
    sum ^ sums.rotate_left(32)
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn holes_count_as_zeroes() {
        let mut records: Vec<u8> = (0..203u32).map(|i| (i * 37 + 1) as u8).collect();
        for holes in [vec![], vec![(0, 64)], vec![(64, 128)], vec![(60, 131), (140, 203)], vec![(0, 203)]] {
            let mut data = Vec::new();
            let mut at = 0;
            for (from, to) in holes {
                records.iter_mut().take(to).skip(from).for_each(|byte| *byte = 0);
                data.push((at, from));
                at = to;
            }
            data.push((at, records.len()));
            data.retain(|(from, to)| from < to);
            assert_eq!(sum(&records, &data), sum(&records, &[(0, records.len())]), "{data:?}");
        }
    }
}
