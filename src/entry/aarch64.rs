//! The stubs for AArch64 (AAPCS64). `hint #34` is `bti c`: a landing pad for indirect jumps.

/// Jumps through the entry table in force. Arguments, stack and return address stay untouched.
macro_rules! jump_through_table {
    ($current:path, $entry:ident) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "hint #34",
            "adrp x16, {current}",
            "ldr x16, [x16, :lo12:{current}]",
            "ldr x16, [x16, #{offset}]",
            "br x16",
            ".cfi_endproc",
            current = sym $current,
            offset = const $entry as usize * 8,
        )
    };
}

/// Calls `start::first` with the arguments kept, and jumps through the table that it returns.
macro_rules! start_then_jump {
    ($first:path, $entry:ident) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "hint #34",
            "stp x29, x30, [sp, #-48]!",
            ".cfi_def_cfa_offset 48",
            ".cfi_offset 29, -48",
            ".cfi_offset 30, -40",
            "stp x0, x1, [sp, #16]",
            "str x2, [sp, #32]",
            "mov x29, sp",
            "bl {first}",
            "mov x16, x0",
            "ldp x0, x1, [sp, #16]",
            "ldr x2, [sp, #32]",
            "ldp x29, x30, [sp], #48",
            ".cfi_def_cfa_offset 0",
            ".cfi_restore 29",
            ".cfi_restore 30",
            "ldr x16, [x16, #{offset}]",
            "br x16",
            ".cfi_endproc",
            first = sym $first,
            offset = const $entry as usize * 8,
        )
    };
}

/// Jumps to a function with the same arguments.
macro_rules! go_on_to {
    ($target:path) => {
        core::arch::naked_asm!(".cfi_startproc", "hint #34", "b {target}", ".cfi_endproc", target = sym $target)
    };
}

/// Jumps to a function that gives a variable of glibc's, with the stack pointer.
macro_rules! copy_or_jump {
    ($target:path, $kind:expr) => {
        add_frame_and_caller!($target, 0)
    };
}

/// Adds the stack pointer and the return address behind 0, 1, 2 or 3 arguments.
macro_rules! add_frame_and_caller {
    ($target:path, 0) => { add_frame_and_caller!(@ $target, "x0", "x1") };
    ($target:path, 1) => { add_frame_and_caller!(@ $target, "x1", "x2") };
    ($target:path, 2) => { add_frame_and_caller!(@ $target, "x2", "x3") };
    ($target:path, 3) => { add_frame_and_caller!(@ $target, "x3", "x4") };
    (@ $target:path, $frame:literal, $caller:literal) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "hint #34",
            concat!("mov ", $frame, ", sp"),
            concat!("mov ", $caller, ", x30"),
            "b {target}",
            ".cfi_endproc",
            target = sym $target,
        )
    };
}

/// The same, and notes the caller's frame in the thread's record.
macro_rules! note_frame_then_add {
    ($target:path, 1) => { note_frame_then_add!(@ $target, "x1", "x2") };
    ($target:path, 2) => { note_frame_then_add!(@ $target, "x2", "x3") };
    ($target:path, 3) => { note_frame_then_add!(@ $target, "x3", "x4") };
    (@ $target:path, $frame:literal, $caller:literal) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "hint #34",
            "mrs x16, tpidr_el0",
            "adrp x17, :gottprel:memhook_record",
            "ldr x17, [x17, #:gottprel_lo12:memhook_record]",
            "ldr x16, [x16, x17]",
            "cbz x16, 3f",
            "2:",
            "mov x17, sp",
            "str x29, [x16, #{came_with}]",
            "str x17, [x16, #({came_with} + 8)]",
            "4:",
            concat!("mov ", $frame, ", sp"),
            concat!("mov ", $caller, ", x30"),
            "b {target}",
            // The thread's first call.
            "3:",
            "stp x29, x30, [sp, #-48]!",
            ".cfi_def_cfa_offset 48",
            ".cfi_offset 29, -48",
            ".cfi_offset 30, -40",
            "stp x0, x1, [sp, #16]",
            "str x2, [sp, #32]",
            "mov x29, sp",
            "bl {claim}",
            "mov x16, x0",
            "ldp x0, x1, [sp, #16]",
            "ldr x2, [sp, #32]",
            "ldp x29, x30, [sp], #48",
            ".cfi_def_cfa_offset 0",
            ".cfi_restore 29",
            ".cfi_restore 30",
            "cbnz x16, 2b",
            "b 4b",
            ".cfi_endproc",
            claim = sym crate::guard::claim_for_stub,
            came_with = const core::mem::offset_of!(crate::guard::Record, came_with),
            target = sym $target,
        )
    };
}

/// Calls a function with the format and where the other arguments are: pointer and number of
/// those in registers, pointer to those on the stack.
macro_rules! hand_on_variadic {
    ($target:path) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "hint #34",
            "stp x29, x30, [sp, #-80]!",
            ".cfi_def_cfa_offset 80",
            ".cfi_offset 29, -80",
            ".cfi_offset 30, -72",
            "stp x1, x2, [sp, #16]",
            "stp x3, x4, [sp, #32]",
            "stp x5, x6, [sp, #48]",
            "str x7, [sp, #64]",
            "mov x29, sp",
            "add x1, sp, #16",
            "mov x2, #7",
            "add x3, sp, #80",
            "bl {target}",
            "ldp x29, x30, [sp], #80",
            ".cfi_def_cfa_offset 0",
            ".cfi_restore 29",
            ".cfi_restore 30",
            "ret",
            ".cfi_endproc",
            target = sym $target,
        )
    };
}
