//! The stubs for x86-64 (System V calling convention).

/// Jumps through the entry table in force. Arguments, stack and return address stay untouched.
macro_rules! jump_through_table {
    ($current:path, $entry:ident) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "mov rax, qword ptr [rip + {current}]",
            "jmp qword ptr [rax + {offset}]",
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
            "push rdi",
            ".cfi_adjust_cfa_offset 8",
            "push rsi",
            ".cfi_adjust_cfa_offset 8",
            "push rdx",
            ".cfi_adjust_cfa_offset 8",
            "call {first}",
            "pop rdx",
            ".cfi_adjust_cfa_offset -8",
            "pop rsi",
            ".cfi_adjust_cfa_offset -8",
            "pop rdi",
            ".cfi_adjust_cfa_offset -8",
            "jmp qword ptr [rax + {offset}]",
            ".cfi_endproc",
            first = sym $first,
            offset = const $entry as usize * 8,
        )
    };
}

/// Jumps to a function with the same arguments.
macro_rules! go_on_to {
    ($target:path) => {
        core::arch::naked_asm!(".cfi_startproc", "jmp {target}", ".cfi_endproc", target = sym $target)
    };
}

/// Gives the innermost callback's copy of a variable of glibc's; jumps to a function with the stack pointer where there is
/// none, or the callback was called from below.
macro_rules! copy_or_jump {
    ($target:path, $kind:expr) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "mov rax, qword ptr [rip + memhook_record@GOTTPOFF]",
            "mov rcx, qword ptr fs:[rax]",
            "test rcx, rcx",
            "je 2f",
            "mov rax, qword ptr [rcx + {inner}]",
            "test rax, rax",
            "je 2f",
            "cmp rsp, qword ptr [rcx + {word}]",
            "jae 2f",
            "add rax, {copy}",
            "ret",
            "2:",
            "mov rdi, rsp",
            "jmp {target}",
            ".cfi_endproc",
            inner = const core::mem::offset_of!(crate::guard::Record, inner),
            word = const core::mem::offset_of!(crate::guard::Record, word),
            copy = const crate::api::glibc::COPIES + 8 * $kind,
            target = sym $target,
        )
    };
}

/// Adds the stack pointer and the return address behind 0, 1, 2 or 3 arguments.
macro_rules! add_frame_and_caller {
    ($target:path, 0) => { add_frame_and_caller!(@ $target, "rdi", "rsi") };
    ($target:path, 1) => { add_frame_and_caller!(@ $target, "rsi", "rdx") };
    ($target:path, 2) => { add_frame_and_caller!(@ $target, "rdx", "rcx") };
    ($target:path, 3) => { add_frame_and_caller!(@ $target, "rcx", "r8") };
    (@ $target:path, $frame:literal, $caller:literal) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            concat!("mov ", $frame, ", rsp"),
            concat!("mov ", $caller, ", qword ptr [rsp]"),
            "jmp {target}",
            ".cfi_endproc",
            target = sym $target,
        )
    };
}

/// The same, and notes the caller's frame in the thread's record.
macro_rules! note_frame_then_add {
    ($target:path, 1) => { note_frame_then_add!(@ $target, "rsi", "rdx") };
    ($target:path, 2) => { note_frame_then_add!(@ $target, "rdx", "rcx") };
    ($target:path, 3) => { note_frame_then_add!(@ $target, "rcx", "r8") };
    (@ $target:path, $frame:literal, $caller:literal) => {
        core::arch::naked_asm!(
            ".cfi_startproc",
            "mov rax, qword ptr [rip + memhook_record@GOTTPOFF]",
            "mov rax, qword ptr fs:[rax]",
            "test rax, rax",
            "je 3f",
            "2:",
            "mov qword ptr [rax + {came_with}], rbp",
            "mov qword ptr [rax + {came_with} + 8], rsp",
            "4:",
            concat!("mov ", $frame, ", rsp"),
            concat!("mov ", $caller, ", qword ptr [rsp]"),
            "jmp {target}",
            // The thread's first call.
            "3:",
            "push rdi",
            ".cfi_adjust_cfa_offset 8",
            "push rsi",
            ".cfi_adjust_cfa_offset 8",
            "push rdx",
            ".cfi_adjust_cfa_offset 8",
            "call {claim}",
            "pop rdx",
            ".cfi_adjust_cfa_offset -8",
            "pop rsi",
            ".cfi_adjust_cfa_offset -8",
            "pop rdi",
            ".cfi_adjust_cfa_offset -8",
            "test rax, rax",
            "jne 2b",
            "jmp 4b",
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
            "push r9",
            ".cfi_adjust_cfa_offset 8",
            "push r8",
            ".cfi_adjust_cfa_offset 8",
            "push rcx",
            ".cfi_adjust_cfa_offset 8",
            "push rdx",
            ".cfi_adjust_cfa_offset 8",
            "push rsi",
            ".cfi_adjust_cfa_offset 8",
            "mov rsi, rsp",
            "mov edx, 5",
            "lea rcx, [rsp + 48]",
            "call {target}",
            "add rsp, 40",
            ".cfi_adjust_cfa_offset -40",
            "ret",
            ".cfi_endproc",
            target = sym $target,
        )
    };
}
