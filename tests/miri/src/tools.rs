//! The tool that counts, the names of files, and the language of the environment variable; the other tools are words
//! without a meaning.

#[path = "../../../src/tools/path.rs"]
pub(crate) mod path;
#[path = "../../../src/tools/usage/mod.rs"]
pub mod usage;
#[path = "../../../src/tools/words.rs"]
pub(crate) mod words;

macro_rules! nothing {
    ($($name:ident)*) => {
        $(
            mod $name {
                use super::words::{Tool, Wrong};

                fn start(settings: &'static [u8], _run: bool) -> Result<(), Wrong> {
                    if settings == b"wrong" { Err(Wrong::Setting(settings)) } else { Ok(()) }
                }

                pub(super) const TOOL: Tool =
                    Tool { name: stringify!($name).as_bytes(), settings: b"right", first: true, start };

                pub(super) fn by_variables() {}
                pub(super) fn are_variables_there() -> bool {
                    false
                }
            }
        )*
    };
}

nothing! { check fail glibc trace }

fn say(parts: &[&[u8]]) {
    parts.iter().for_each(|part| crate::sys::write_error(part));
    crate::sys::write_error(b"\n");
}

#[cfg(test)]
mod tests {
    use super::path::Path;
    use super::words::{Tool, number, settings, split};
    use crate::sys::SAID;

    #[test]
    fn names_of_files() {
        let mut path = Path::paged().unwrap();
        assert_eq!(path.expand(b"a%p-%e%%.%n", 7), Ok(()));
        assert_eq!((path.bytes(), path.with_nul()), (&b"a4711-true%.7"[..], &b"a4711-true%.7\0"[..]));
        assert_eq!(path.append(12), Ok(()));
        assert_eq!(path.bytes(), b"a4711-true%.7.12");
        assert_eq!(path.copy(b"%p"), Ok(()));
        assert_eq!(path.bytes(), b"%p");
        for wrong in [&b""[..], b"%", b"%x", b"a%"] {
            assert!(!Path::is_pattern(wrong));
        }
        for len in [4095, 4096] {
            let name = vec![b'x'; len];
            let expected = if len < 4096 { Ok(()) } else { Err(libc::ENAMETOOLONG) };
            assert_eq!(path.expand(&name, 0), expected);
            if len < 4096 {
                assert_eq!(path.with_nul().len(), len + 1);
                assert_eq!(path.append(1000), Err(libc::ENAMETOOLONG));
            }
        }
        assert_eq!(Path::create(b"x%n", &mut path), Ok(9));
        assert_eq!(path.bytes(), b"x1");
        assert_eq!(Path::open_at_end(b"x0", &mut path, true), Ok(9));
    }

    #[test]
    fn numbers_and_settings() {
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for wrong in [&b""[..], b"18446744073709551616", b"1x", b"-1", b" 1"] {
            assert_eq!(number(wrong), None);
        }
        assert_eq!(split(b"a=b=c", b'='), (&b"a"[..], &b"b=c"[..]));
        assert_eq!(split(b"a", b'='), (&b"a"[..], &b""[..]));
        let all: Vec<_> = settings(b"peak:5,,abort,x:y:z").collect();
        let names: Vec<_> = all.iter().map(|&(_, name, value)| (name, value)).collect();
        let expected: [(&[u8], &[u8]); 4] = [(b"peak", b"5"), (b"", b""), (b"abort", b""), (b"x", b"y:z")];
        assert_eq!(names, expected);
    }

    /// Words that are right and words that are wrong, in all combinations that matter, without starting anything.
    #[test]
    fn settings_of_usage() {
        let try_it = |settings: &'static [u8]| {
            SAID.lock().unwrap().clear();
            let tool: &Tool = &super::usage::TOOL;
            (tool.start)(settings, false).is_ok()
        };
        let right: [&[u8]; 6] = [
            b"",
            b"peak:1000,abort",
            b"batch:1,total:5,calls:7",
            b"live:0,blocks:3,status:9",
            b"maps",
            b"file:a%p",
        ];
        let wrong: [&[u8]; 6] = [b"x", b"peak:", b"peak:x", b"status:256", b"file:%x", b"batch:-1"];
        assert!(right.into_iter().all(try_it));
        assert!(!wrong.into_iter().any(try_it));
    }
}
