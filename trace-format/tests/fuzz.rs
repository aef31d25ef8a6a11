//! The target of `fuzz/` without cargo-fuzz: over its corpus, and over changes of it for as many seconds as
//! MEMHOOK_FUZZ_SECONDS says (`make test`: a minute, `make fuzz`: an hour).

#[path = "../fuzz/target.rs"]
mod target;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn corpus() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/read");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
}

#[test]
#[cfg_attr(miri, ignore = "it reads files")]
fn what_was_found_does_no_harm_again() {
    let all = corpus();
    assert!(!all.is_empty());
    for (path, bytes) in all {
        println!("{}", path.display());
        target::read(&bytes);
    }
}

/// Numbers at the ends of what they can be, and bytes that records begin with.
const PIECES: [&[u8]; 8] = [
    &[0xff; 8],
    &[0, 0, 0, 0, 0, 0, 0, 0x80],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0; 8],
    &[1, 0, 0, 0, 0, 0, 0, 0],
    b"MHTR\x01\x02",
    &[15, 0x80, 4, 16, 0],
    &[0, 0x80],
];

#[test]
#[cfg_attr(miri, ignore = "it looks at the clock")]
fn changes_of_the_corpus_do_no_harm() {
    let seconds = std::env::var("MEMHOOK_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let all: Vec<Vec<u8>> = corpus().into_iter().map(|(_, bytes)| bytes).collect();
    // Another run begins elsewhere, and what fails is written out.
    let mut state = std::process::id() as u64 | 1 << 40;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % below.max(1)
    };
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut runs = 0u64;
    while Instant::now() < end {
        let mut bytes = all[draw(all.len())].clone();
        for _ in 0..=draw(12) {
            if bytes.is_empty() {
                break;
            }
            let at = draw(bytes.len());
            match draw(7) {
                0 => bytes[at] = draw(256) as u8,
                1 => bytes[at] ^= 1 << draw(8),
                2 => {
                    let piece = PIECES[draw(PIECES.len())];
                    bytes.iter_mut().skip(at).zip(piece).for_each(|(to, from)| *to = *from);
                }
                3 if draw(8) == 0 => bytes.truncate(at),
                4 => {
                    // A part of another, at a place like its own.
                    let other = &all[draw(all.len())];
                    let from = (at / 8 * 8).min(other.len());
                    let part = &other[from..(from + 8 * draw(64)).min(other.len())];
                    bytes.iter_mut().skip(from).zip(part).for_each(|(to, from)| *to = *from);
                }
                5 if bytes.len() < 1 << 17 => {
                    // A page once more.
                    let page = at / 4096 * 4096;
                    let copy = bytes[page..(page + 4096).min(bytes.len())].to_vec();
                    bytes.extend(copy);
                }
                _ => {
                    // A little inside a chunk's head or its first records.
                    let near = at / 4096 * 4096 + draw(160);
                    if let Some(byte) = bytes.get_mut(near) {
                        *byte = byte.wrapping_add(draw(3) as u8).wrapping_sub(1);
                    }
                }
            }
        }
        let copy = bytes.clone();
        if std::panic::catch_unwind(|| target::read(&copy)).is_err() {
            let path = std::env::temp_dir().join(format!("memhook-trace-{}", std::process::id()));
            fs::write(&path, &bytes).expect("writable");
            panic!("{} does harm: put it into trace-format/fuzz/corpus/read", path.display());
        }
        runs += 1;
    }
    println!("{runs} changed traces in {seconds} s");
}
