//! malloc and free with one observer, with several, or with one interceptor: what `dispatch::observe` and
//! `dispatch::single` do for them, in the fewest instructions that do it.
//!
//! Never: does what they do not. Whatever is out of the ordinary goes to them, either before a section
//! is opened, or with the section given up or handed over.
//!
//! An entry point comes here with the head in force in `rax`. Throughout, `rcx` is the thread's record where
//! nothing was called since it was loaded; the frame holds, from the stack pointer up, the record,
//! errno, and the block.
//!
//! The protocol of a section is that of `grace::open` and `grace::close`. On x86-64, every store has Release's
//! meaning and every load has Acquire's; a store may pass a later load, and where it must not (the section's
//! beginning before the look at the head in force), `barrier::heavy` sees to it, or `barrier::SPECIAL` says
//! that it does not.

use crate::backend::FUNCTIONS;
use crate::chain::{CURRENT, at};
use crate::dispatch::{END, free_for_stub, made_by_stub, observed_nothing};
use crate::grace::{EPOCH, stub};
use crate::guard::{Call, Record};
use crate::ownership::LEAF_BITS;
use crate::sys::barrier::SPECIAL;
use core::mem::offset_of;

/// Opens a section, or goes to `8:` without one, or to `9:` with one that is to be given up.
macro_rules! open {
    () => {
        concat!(
            "mov rcx, qword ptr [rip + memhook_record@GOTTPOFF]\n",
            "mov rcx, qword ptr fs:[rcx]\n",
            "test rcx, rcx\n",
            "je 8f\n",
            "cmp qword ptr [rcx + {word}], 0\n",
            "jne 8f\n",
            "mov rdx, qword ptr [rip + {EPOCH}]\n",
            "mov qword ptr [rcx + {epoch}], rdx\n",
            "mov qword ptr [rcx + {word}], rsp\n",
            "mov qword ptr [rcx + {head}], rax\n",
            "cmp dword ptr [rip + {SPECIAL}], 0\n",
            "jne 9f\n",
            "cmp rax, qword ptr [rip + {CURRENT}]\n",
            "jne 9f\n",
        )
    };
}

/// Where it leads: the way in Rust, which does the same.
macro_rules! ways_out {
    () => {
        concat!(
            "9:\n",
            "push rdi\n",
            ".cfi_def_cfa_offset 16\n",
            "mov rdi, rcx\n",
            "call {give_up}\n",
            "pop rdi\n",
            ".cfi_def_cfa_offset 8\n",
            "8:\n",
            "jmp {way}\n",
        )
    };
}

/// Makes the frame, with the record and errno in it.
macro_rules! begin_frame {
    () => {
        concat!(
            "mov rdx, qword ptr [rcx + {errno}]\n",
            "mov edx, dword ptr [rdx]\n",
            "sub rsp, 24\n",
            ".cfi_def_cfa_offset 32\n",
            "mov qword ptr [rsp], rcx\n",
            "mov qword ptr [rsp + 8], rdx\n",
        )
    };
}

/// Ends the section, with the record in `rcx`, and restores errno; changes `rdx` and `rsi`. `7:` is `ended_late`.
macro_rules! close {
    () => {
        concat!(
            "mov rsi, qword ptr [rcx + {epoch}]\n",
            "mov qword ptr [rcx + {word}], 0\n",
            "cmp rsi, qword ptr [rip + {EPOCH}]\n",
            "jne 7f\n",
            "5:\n",
            "mov rdx, qword ptr [rcx + {errno}]\n",
            "mov esi, dword ptr [rsp + 8]\n",
            "mov dword ptr [rdx], esi\n",
        )
    };
}

/// The section has more to look at as it ends.
macro_rules! ended_late {
    () => {
        concat!(
            "7:\n",
            "mov qword ptr [rsp + 16], rax\n",
            "mov rdi, rcx\n",
            "call {left_with}\n",
            "mov rcx, qword ptr [rsp]\n",
            "mov rax, qword ptr [rsp + 16]\n",
            "jmp 5b\n",
        )
    };
}

/// Gives the frame up. What follows the jump or return behind it begins with the frame in place.
macro_rules! end_frame {
    () => {
        concat!(".cfi_remember_state\n", "add rsp, 24\n", ".cfi_def_cfa_offset 8\n",)
    };
}

/// Sets `rsi` to where the leaf of the block in `rax` stands in the record, or goes to `6:`; changes `rdx`.
macro_rules! find_leaf {
    ($block:literal) => {
        concat!(
            "mov rdx, ",
            $block,
            "\n",
            "shr rdx, {leaf_bits}\n",
            "mov esi, edx\n",
            "and esi, 7\n",
            "shl esi, 4\n",
            "cmp rdx, qword ptr [rcx + rsi + {leaves}]\n",
            "jne 6f\n",
            "mov rsi, qword ptr [rcx + rsi + {leaves} + 8]\n",
            "mov rdx, ",
            $block,
            "\n",
            "shr rdx, 3\n",
        )
    };
}

macro_rules! short {
    ($(#[$doc:meta])* $name:ident, $way:path, [$($line:expr,)*], $($more:tt)*) => {
        $(#[$doc])*
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                ".cfi_startproc",
                $($line,)*
                ".cfi_endproc",
                EPOCH = sym EPOCH,
                SPECIAL = sym SPECIAL,
                CURRENT = sym CURRENT,
                word = const offset_of!(Record, word),
                epoch = const offset_of!(Record, epoch),
                head = const offset_of!(Record, head),
                errno = const offset_of!(Record, errno),
                give_up = sym stub::give_up,
                left_with = sym stub::left_with,
                way = sym $way,
                $($more)*
            )
        }
    };
}

const MALLOC_CALL: usize = offset_of!(Record, malloc_call);
const FREE_CALL: usize = offset_of!(Record, free_call);

short! {
    /// malloc, told to observers.
    observed_malloc, super::stub::observed_malloc,
    [
        open!(),
        "mov rdx, qword ptr [rsp]",
        "mov qword ptr [rcx + {caller}], rdx",
        "mov qword ptr [rcx + {requested}], rdi",
        begin_frame!(),
        "call qword ptr [rip + {backend}]",
        "test rax, rax",
        "je 6f",
        "mov qword ptr [rsp + 16], rax",
        "mov rcx, qword ptr [rsp]",
        "mov r8, qword ptr [rcx + {head}]",
        "lea rdi, [rcx + {call}]",
        "mov rsi, rax",
        "mov rdx, qword ptr [r8 + {user}]",
        "call qword ptr [r8 + {function}]",
        "mov rcx, qword ptr [rsp]",
        "mov rax, qword ptr [rsp + 16]",
        close!(),
        end_frame!(),
        "ret",
        ".cfi_restore_state",
        "6:",
        "mov rdi, qword ptr [rsp]",
        "call {nothing}",
        end_frame!(),
        "ret",
        ".cfi_restore_state",
        ended_late!(),
        ".cfi_def_cfa_offset 8",
        ways_out!(),
    ],
    call = const MALLOC_CALL,
    caller = const MALLOC_CALL + offset_of!(Call, caller),
    requested = const MALLOC_CALL + offset_of!(Call, requested),
    function = const at::AFTER_FUNCTION,
    user = const at::AFTER_USER,
    backend = sym FUNCTIONS,
    nothing = sym observed_nothing,
}

short! {
    /// free, told to observers.
    observed_free, super::stub::observed_free,
    [
        "test rdi, rdi",
        "je 4f",
        open!(),
        "mov rdx, qword ptr [rsp]",
        "mov qword ptr [rcx + {caller}], rdx",
        "mov qword ptr [rcx + {block}], rdi",
        begin_frame!(),
        "mov qword ptr [rsp + 16], rdi",
        "lea rdi, [rcx + {call}]",
        "mov rsi, qword ptr [rax + {user}]",
        "call qword ptr [rax + {function}]",
        "mov rcx, qword ptr [rsp]",
        "mov rax, qword ptr [rsp + 16]",
        close!(),
        "mov rdi, rax",
        end_frame!(),
        // Its section is over. What it tells of, another thread may own from here on.
        "jmp qword ptr [rip + {backend} + 8]",
        ".cfi_restore_state",
        ended_late!(),
        ".cfi_def_cfa_offset 8",
        ways_out!(),
        "4:",
        "ret",
    ],
    call = const FREE_CALL,
    caller = const FREE_CALL + offset_of!(Call, caller),
    block = const FREE_CALL + offset_of!(Call, block),
    function = const at::BEFORE_FUNCTION,
    user = const at::BEFORE_USER,
    backend = sym FUNCTIONS,
}

short! {
    /// malloc through one interceptor, which owns the block.
    single_malloc, super::stub::malloc,
    [
        open!(),
        "mov rdx, qword ptr [rsp]",
        "mov qword ptr [rcx + {caller}], rdx",
        "mov qword ptr [rcx + {requested}], rdi",
        begin_frame!(),
        "mov rsi, rdi",
        "lea rdi, [rip + {END}]",
        "lea rdx, [rcx + {call}]",
        "mov rcx, qword ptr [rax + {user}]",
        "call qword ptr [rax + {function}]",
        "mov rcx, qword ptr [rsp]",
        find_leaf!("rax"),
        "mov rdi, qword ptr [rcx + {counts}]",
        "mov r8, qword ptr [rcx + {head}]",
        "movzx r8d, word ptr [r8 + {owner}]",
        "inc qword ptr [rdi + r8*8]",
        "mov word ptr [rsi + rdx*2], r8w",
        close!(),
        end_frame!(),
        "ret",
        ".cfi_restore_state",
        "6:",
        "mov rdi, rcx",
        "mov rsi, rax",
        "mov edx, dword ptr [rsp + 8]",
        "call {made}",
        end_frame!(),
        "ret",
        ".cfi_restore_state",
        ended_late!(),
        ".cfi_def_cfa_offset 8",
        ways_out!(),
    ],
    END = sym END,
    call = const MALLOC_CALL,
    caller = const MALLOC_CALL + offset_of!(Call, caller),
    requested = const MALLOC_CALL + offset_of!(Call, requested),
    function = const at::SINGLE_MALLOC,
    user = const at::SINGLE_USER,
    owner = const at::SINGLE_OWNER,
    counts = const offset_of!(Record, counts),
    leaves = const offset_of!(Record, leaves),
    leaf_bits = const LEAF_BITS,
    made = sym made_by_stub,
}

short! {
    /// free through the one interceptor that made the block.
    single_free, super::stub::free,
    [
        "test rdi, rdi",
        "je 8f",
        open!(),
        find_leaf!("rdi"),
        "movzx r8d, word ptr [rsi + rdx*2]",
        "cmp r8w, word ptr [rax + {owner}]",
        "jne 6f",
        "mov word ptr [rsi + rdx*2], 0",
        "mov rdx, qword ptr [rcx + {counts}]",
        "dec qword ptr [rdx + r8*8]",
        "mov rdx, qword ptr [rsp]",
        "mov qword ptr [rcx + {caller}], rdx",
        "mov qword ptr [rcx + {block}], rdi",
        begin_frame!(),
        "mov rsi, rdi",
        "lea rdi, [rip + {END}]",
        "lea rdx, [rcx + {call}]",
        "mov rcx, qword ptr [rax + {user}]",
        "call qword ptr [rax + {function}]",
        "mov rcx, qword ptr [rsp]",
        close!(),
        end_frame!(),
        "ret",
        ".cfi_restore_state",
        ended_late!(),
        ".cfi_def_cfa_offset 8",
        // The section goes with it.
        "6:",
        "mov rsi, rsp",
        "mov rdx, qword ptr [rsp]",
        "jmp {free_for_stub}",
        ways_out!(),
    ],
    END = sym END,
    call = const FREE_CALL,
    caller = const FREE_CALL + offset_of!(Call, caller),
    block = const FREE_CALL + offset_of!(Call, block),
    function = const at::SINGLE_FREE,
    user = const at::SINGLE_USER,
    owner = const at::SINGLE_OWNER,
    counts = const offset_of!(Record, counts),
    leaves = const offset_of!(Record, leaves),
    leaf_bits = const LEAF_BITS,
    free_for_stub = sym free_for_stub,
}
