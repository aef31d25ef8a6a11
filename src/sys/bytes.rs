//! What compilers call by themselves to copy, fill and compare memory: `memcpy`, `memmove`, `memset`, `memcmp`, `bcmp`
//! and `strlen`, for this library alone.
//!
//! The C library's may be interposed by an object that allocates in them. The first allocation call looks symbols up by
//! comparing names: it would come here again and again, until the stack ends. The symbols are hidden, so that they
//! serve no other object; in the archive they are local. Assembler, as a compiler may make a call of `memcpy` of the
//! loop of a `memcpy`.
//!
//! Never: reads or writes a byte that it was not given.

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(include_str!("bytes_x86_64.s"));
#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(include_str!("bytes_aarch64.s"));

/// Whether `part` stands in `text`, as memmem(3) finds it.
pub(crate) fn contains(text: &[u8], part: &[u8]) -> bool {
    /// So many places are looked at by a loop without an exit, which compilers turn into one of vectors.
    const AT_ONCE: usize = 32;
    let (Some(&first), Some(&last)) = (part.first(), part.last()) else { return true };
    let Some(starts) = text.len().checked_sub(part.len()).map(|most| most + 1) else { return false };
    let (firsts, lasts) = (text.get(..starts).unwrap_or(&[]), text.get(part.len() - 1..).unwrap_or(&[]));
    let mut at = 0;
    for (firsts, lasts) in firsts.chunks(AT_ONCE).zip(lasts.chunks(AT_ONCE)) {
        let is_one = |(a, b): (&u8, &u8)| u8::from(*a == first) & u8::from(*b == last);
        let any = match (firsts.first_chunk::<AT_ONCE>(), lasts.first_chunk::<AT_ONCE>()) {
            (Some(firsts), Some(lasts)) => firsts.iter().zip(lasts).map(is_one).fold(0, |any, one| any | one),
            _ => 1,
        };
        if any != 0 {
            let mut places = at..at + firsts.len();
            if places.any(|at| text.get(at..).is_some_and(|rest| rest.starts_with(part))) {
                return true;
            }
        }
        at += AT_ONCE;
    }
    false
}
