//! Where a function's frame is, by the unwind tables that compilers write (`.eh_frame`): for one return address, how
//! to find the next.
//!
//! `_Unwind_Backtrace` does this and more, and allocates, and takes locks. Only what functions of C, C++, Rust
//! and the like need is here: frames at a distance from the stack or the frame pointer. Signal frames and
//! expressions are refused.

use super::find::Found;

/// How to leave a function at a certain point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    /// Whether the frame is counted from the frame pointer; else from the stack pointer.
    pub(crate) by_frame: bool,
    /// Where the return address is, from the frame's end.
    pub(crate) returns: i16,
    /// The frame's end from there: the caller's stack pointer.
    pub(crate) distance: i32,
    /// Where the caller's frame pointer was saved, from the frame's end; 0: nowhere, it is in the register still.
    pub(crate) saved: i32,
}

/// Numbers of registers in the tables.
const FRAME: u64 = if cfg!(target_arch = "x86_64") { 6 } else { 29 };
const STACK: u64 = if cfg!(target_arch = "x86_64") { 7 } else { 31 };
/// Where the return address is: no register on x86-64.
const RETURN: u64 = if cfg!(target_arch = "x86_64") { 16 } else { 30 };

/// Takes bytes at an address of a loaded object's tables.
#[derive(Clone, Copy)]
struct Cursor(usize);

impl Cursor {
    /// # Safety
    ///
    /// There are as many bytes of a loaded object's tables.
    unsafe fn take<T: Copy>(&mut self) -> T {
        // SAFETY: the caller's contract; numbers of any bytes are valid.
        let value = unsafe { (self.0 as *const T).read_unaligned() };
        self.0 = self.0.wrapping_add(size_of::<T>());
        value
    }

    /// # Safety
    ///
    /// As [`take`](Cursor::take).
    unsafe fn unsigned(&mut self) -> u64 {
        let (mut value, mut shift) = (0u64, 0u32);
        loop {
            // SAFETY: the caller's contract.
            let byte = unsafe { self.take::<u8>() };
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }

    /// # Safety
    ///
    /// As [`take`](Cursor::take).
    unsafe fn signed(&mut self) -> i64 {
        let (mut value, mut shift) = (0i64, 0u32);
        loop {
            // SAFETY: the caller's contract.
            let byte = unsafe { self.take::<u8>() };
            value |= i64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift += 7;
            if byte & 0x80 == 0 {
                let negative = byte & 0x40 != 0 && shift < 64;
                return if negative { value | -1i64 << shift } else { value };
            }
        }
    }

    /// A pointer in one of the forms that occur: a whole address, or 4 bytes, from the place where they stand.
    ///
    /// # Safety
    ///
    /// As [`take`](Cursor::take).
    unsafe fn pointer(&mut self, form: u8) -> Option<usize> {
        let place = self.0;
        let value = match form & 0x0f {
            // SAFETY: the caller's contract.
            0x00 | 0x04 | 0x0c => unsafe { self.take::<u64>() as usize },
            // SAFETY: the caller's contract.
            0x03 => unsafe { self.take::<u32>() as usize },
            // SAFETY: the caller's contract.
            0x0b => unsafe { self.take::<i32>() as usize },
            _ => return None,
        };
        match form & 0x70 {
            0x00 => Some(value),
            0x10 => Some(place.wrapping_add(value)),
            _ => None,
        }
    }
}

/// What is found out while the instructions run.
#[derive(Clone, Copy, Default)]
struct State {
    register: u64,
    distance: i64,
    saved: Option<i64>,
    returns: Option<i64>,
    /// The frame's end is an expression, or a register was saved in a way that is not known here.
    strange: bool,
    /// There is no caller.
    outermost: bool,
}

/// What a CIE says of its functions.
struct Common {
    code: u64,
    data: i64,
    form: u8,
    augmented: bool,
    program: (usize, usize),
}

/// The row of a point in a function: `pc` lies in an instruction of it. `None` where there is none, or none of the
/// plain kind.
pub(crate) fn row(found: &Found, pc: usize) -> Option<Row> {
    if found.unwind.is_null() {
        return None;
    }
    let entry = entry(found.unwind as usize, pc)?;
    let mut cursor = Cursor(entry);
    // SAFETY: an entry of a loaded object's table.
    let length = unsafe { cursor.take::<u32>() };
    let end = cursor.0.wrapping_add(length as usize);
    let place = cursor.0;
    // SAFETY: as above.
    let back = unsafe { cursor.take::<u32>() };
    if length == u32::MAX || back == 0 {
        return None;
    }
    let common = common(place.wrapping_sub(back as usize))?;
    // SAFETY: as above.
    let begin = unsafe { cursor.pointer(common.form) }?;
    // SAFETY: as above.
    let range = unsafe { cursor.pointer(common.form & 0x0f) }?;
    if pc.wrapping_sub(begin) >= range {
        return None;
    }
    if common.augmented {
        // SAFETY: as above.
        let skipped = unsafe { cursor.unsigned() };
        cursor.0 = cursor.0.wrapping_add(skipped as usize);
    }
    let mut state = State::default();
    let (start, stop) = common.program;
    run(&mut state, &State::default(), &common, (start, stop), begin, usize::MAX)?;
    let initial = state;
    run(&mut state, &initial, &common, (cursor.0, end), begin, pc)?;
    let by_frame = match state.register {
        FRAME => true,
        STACK => false,
        _ => return None,
    };
    let small = |value: i64| i32::try_from(value).ok();
    // A function that has called another has its return address in its frame.
    let returns = i16::try_from(state.returns?).ok()?;
    let row =
        Row { by_frame, returns, distance: small(state.distance)?, saved: small(state.saved.unwrap_or(0))? };
    (!state.strange && !state.outermost).then_some(row)
}

/// The address of the entry for `pc` in the table that is sorted for searching.
fn entry(table: usize, pc: usize) -> Option<usize> {
    let mut cursor = Cursor(table);
    // SAFETY: the loader says that the table is here.
    let [version, frame_form, count_form, table_form] = unsafe { cursor.take::<[u8; 4]>() };
    if version != 1 || count_form != 0x03 || table_form != 0x3b {
        return None;
    }
    // SAFETY: as above.
    unsafe { cursor.pointer(frame_form) }?;
    // SAFETY: as above.
    let count = unsafe { cursor.take::<u32>() } as usize;
    let rows = cursor.0;
    let at = |i: usize| {
        // SAFETY: `i` is below the number of rows.
        let [start, entry] = unsafe { Cursor(rows.wrapping_add(i * 8)).take::<[i32; 2]>() };
        (table.wrapping_add(start as usize), table.wrapping_add(entry as usize))
    };
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if at(middle).0 <= pc { low = middle + 1 } else { high = middle }
    }
    low.checked_sub(1).map(|last| at(last).1)
}

fn common(at: usize) -> Option<Common> {
    let mut cursor = Cursor(at);
    // SAFETY: an entry of a loaded object's table names it.
    let length = unsafe { cursor.take::<u32>() };
    let end = cursor.0.wrapping_add(length as usize);
    // SAFETY: as above.
    let id = unsafe { cursor.take::<u32>() };
    // SAFETY: as above.
    let version = unsafe { cursor.take::<u8>() };
    if id != 0 || !matches!(version, 1 | 3) {
        return None;
    }
    let mut letters = [0u8; 8];
    for letter in &mut letters {
        // SAFETY: as above; the letters end with NUL.
        *letter = unsafe { cursor.take::<u8>() };
        if *letter == 0 {
            break;
        }
    }
    // SAFETY: as above.
    let code = unsafe { cursor.unsigned() };
    // SAFETY: as above.
    let data = unsafe { cursor.signed() };
    // SAFETY: as above. One byte or a number of one byte.
    let returns = unsafe { cursor.take::<u8>() };
    let mut form = 0;
    let augmented = letters.first() == Some(&b'z');
    if u64::from(returns) != RETURN || (!augmented && letters.first() != Some(&0)) {
        return None;
    }
    if augmented {
        // SAFETY: as above.
        let skipped = unsafe { cursor.unsigned() } as usize;
        let behind = cursor.0.wrapping_add(skipped);
        for letter in letters.iter().skip(1).take_while(|&&letter| letter != 0) {
            match letter {
                // SAFETY: as above.
                b'R' => form = unsafe { cursor.take::<u8>() },
                b'L' => cursor.0 = cursor.0.wrapping_add(1),
                // AArch64: with which key return addresses are signed.
                b'B' => {}
                b'P' => {
                    // SAFETY: as above.
                    let own = unsafe { cursor.take::<u8>() };
                    // SAFETY: as above.
                    unsafe { cursor.pointer(own & 0x0f) }?;
                }
                // A signal frame, or a letter that is not known.
                _ => return None,
            }
        }
        cursor.0 = behind;
    }
    Some(Common { code, data, form, augmented, program: (cursor.0, end) })
}

/// Runs instructions up to the point `pc`.
fn run(
    state: &mut State,
    initial: &State,
    common: &Common,
    (start, end): (usize, usize),
    begin: usize,
    pc: usize,
) -> Option<()> {
    let mut cursor = Cursor(start);
    let mut at = begin;
    let mut kept = [State::default(); 8];
    let mut depth = 0usize;
    while cursor.0 < end {
        // SAFETY: an instruction of a loaded object's table.
        let code = unsafe { cursor.take::<u8>() };
        let low = u64::from(code & 0x3f);
        let mut number = || {
            // SAFETY: as above.
            unsafe { cursor.unsigned() }
        };
        let mut advance = None;
        let mut rule = None;
        match code {
            0x40..=0x7f => advance = Some(low),
            0x80..=0xbf => rule = Some((low, Some(number() as i64 * common.data))),
            0xc0.. => restore(state, initial, low),
            0x00 => {}
            // SAFETY: as above.
            0x02 => advance = Some(unsafe { cursor.take::<u8>() }.into()),
            // SAFETY: as above.
            0x03 => advance = Some(unsafe { cursor.take::<u16>() }.into()),
            // SAFETY: as above.
            0x04 => advance = Some(unsafe { cursor.take::<u32>() }.into()),
            0x05 => rule = Some((number(), Some(number() as i64 * common.data))),
            0x06 => {
                let register = number();
                restore(state, initial, register);
            }
            0x07 => {
                let register = number();
                state.outermost |= register == RETURN;
                state.strange |= register == FRAME;
            }
            0x08 => rule = Some((number(), None)),
            0x09 => {
                let register = number();
                number();
                state.strange |= register == FRAME || register == RETURN;
            }
            0x0a => {
                *kept.get_mut(depth)? = *state;
                depth += 1;
            }
            0x0b => {
                depth = depth.checked_sub(1)?;
                *state = *kept.get(depth)?;
            }
            0x0c => (state.register, state.distance) = (number(), number() as i64),
            0x0d => state.register = number(),
            0x0e => state.distance = number() as i64,
            0x0f => {
                let skipped = number();
                cursor.0 = cursor.0.wrapping_add(skipped as usize);
                state.register = u64::MAX;
            }
            0x10 | 0x16 => {
                let (register, skipped) = (number(), number());
                cursor.0 = cursor.0.wrapping_add(skipped as usize);
                state.strange |= register == FRAME || register == RETURN;
            }
            0x11 => {
                let register = number();
                // SAFETY: as above.
                rule = Some((register, Some(unsafe { cursor.signed() } * common.data)));
            }
            // AArch64: whether the return address is signed.
            0x2d => {}
            0x2e => {
                number();
            }
            _ => return None,
        }
        match rule {
            Some((FRAME, offset)) => state.saved = offset,
            Some((RETURN, offset)) => state.returns = offset,
            _ => {}
        }
        if let Some(by) = advance {
            at = at.wrapping_add((by * common.code) as usize);
            if at > pc {
                break;
            }
        }
    }
    Some(())
}

fn restore(state: &mut State, initial: &State, register: u64) {
    match register {
        FRAME => state.saved = initial.saved,
        RETURN => state.returns = initial.returns,
        _ => {}
    }
}
