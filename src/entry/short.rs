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
//! Each stands here twice: once it saves errno and restores it (`saved`), once it leaves that to hooks which promise
//! to keep it (`kept`).
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

/// Makes the frame, with the record in it, and errno where that is saved. The comment is for the argument, which not
/// all would name.
macro_rules! begin_frame {
    () => {
        concat!("sub rsp, 24\n", ".cfi_def_cfa_offset 32\n", "mov qword ptr [rsp], rcx\n")
    };
    (kept) => {
        concat!("/* {errno} */\n", begin_frame!())
    };
    (saved) => {
        concat!(
            begin_frame!(),
            "mov rdx, qword ptr [rcx + {errno}]\n",
            "mov edx, dword ptr [rdx]\n",
            "mov dword ptr [rsp + 8], edx\n",
        )
    };
}

/// Ends the section, with the record in `rcx`, and restores errno where it is saved; changes `rdx` and `rsi`. `7:` is
/// `ended_late`.
macro_rules! close {
    (kept) => {
        concat!(
            "mov rsi, qword ptr [rcx + {epoch}]\n",
            "mov qword ptr [rcx + {word}], 0\n",
            "cmp rsi, qword ptr [rip + {EPOCH}]\n",
            "jne 7f\n",
            "5:\n",
        )
    };
    (saved) => {
        concat!(
            close!(kept),
            "mov rdx, qword ptr [rcx + {errno}]\n",
            "mov esi, dword ptr [rsp + 8]\n",
            "mov dword ptr [rdx], esi\n",
        )
    };
}

/// The section has more to look at as it ends, which keeps errno.
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

/// Sets `edx` to errno, with the record in `rcx`.
macro_rules! load_errno {
    (kept) => {
        concat!("mov rdx, qword ptr [rcx + {errno}]\n", "mov edx, dword ptr [rdx]\n")
    };
    (saved) => {
        "mov edx, dword ptr [rsp + 8]\n"
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
        #[unsafe(link_section = ".text.memhook_short")]
        pub(super) unsafe extern "C" fn $name() {
            core::arch::naked_asm!(
                ".cfi_startproc",
                $($line,)*
                ".cfi_endproc",
                // So that the next one begins a line of the cache.
                ".p2align 6",
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

macro_rules! observed_malloc {
    ($(#[$doc:meta])* $name:ident, $errno:tt) => {
        short! {
            $(#[$doc])* $name, super::stub::observed_malloc,
            [
                open!(),
                "mov rdx, qword ptr [rsp]",
                "mov qword ptr [rcx + {caller}], rdx",
                "mov qword ptr [rcx + {requested}], rdi",
                begin_frame!($errno),
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
                close!($errno),
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
    };
}

observed_malloc! {
    /// malloc, told to observers.
    observed_malloc, saved
}

observed_malloc! {
    /// The same, through hooks that keep errno.
    observed_malloc_kept, kept
}

macro_rules! observed_free {
    ($(#[$doc:meta])* $name:ident, $errno:tt) => {
        short! {
            $(#[$doc])* $name, super::stub::observed_free,
            [
                "test rdi, rdi",
                "je 4f",
                open!(),
                "mov rdx, qword ptr [rsp]",
                "mov qword ptr [rcx + {caller}], rdx",
                "mov qword ptr [rcx + {block}], rdi",
                begin_frame!($errno),
                "mov qword ptr [rsp + 16], rdi",
                "lea rdi, [rcx + {call}]",
                "mov rsi, qword ptr [rax + {user}]",
                "call qword ptr [rax + {function}]",
                "mov rcx, qword ptr [rsp]",
                "mov rax, qword ptr [rsp + 16]",
                close!($errno),
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
    };
}

observed_free! {
    /// free, told to observers.
    observed_free, saved
}

observed_free! {
    /// The same, through hooks that keep errno.
    observed_free_kept, kept
}

macro_rules! single_malloc {
    ($(#[$doc:meta])* $name:ident, $errno:tt) => {
        short! {
            $(#[$doc])* $name, super::stub::malloc,
            [
                open!(),
                "mov rdx, qword ptr [rsp]",
                "mov qword ptr [rcx + {caller}], rdx",
                "mov qword ptr [rcx + {requested}], rdi",
                begin_frame!($errno),
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
                close!($errno),
                end_frame!(),
                "ret",
                ".cfi_restore_state",
                "6:",
                "mov rdi, rcx",
                "mov rsi, rax",
                load_errno!($errno),
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
    };
}

single_malloc! {
    /// malloc through one interceptor, which owns the block.
    single_malloc, saved
}

single_malloc! {
    /// The same, through hooks that keep errno.
    single_malloc_kept, kept
}

macro_rules! single_free {
    ($(#[$doc:meta])* $name:ident, $errno:tt) => {
        short! {
            $(#[$doc])* $name, super::stub::free,
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
                begin_frame!($errno),
                "mov rsi, rdi",
                "lea rdi, [rip + {END}]",
                "lea rdx, [rcx + {call}]",
                "mov rcx, qword ptr [rax + {user}]",
                "call qword ptr [rax + {function}]",
                "mov rcx, qword ptr [rsp]",
                close!($errno),
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
    };
}

single_free! {
    /// free through the one interceptor that made the block.
    single_free, saved
}

single_free! {
    /// The same, through hooks that keep errno.
    single_free_kept, kept
}
