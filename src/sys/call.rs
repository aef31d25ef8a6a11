//! Calls by address.

/// Calls a function with three arguments, of which it takes as many as it has; what it returns.
///
/// `slot` is where its address was found, null if in no object's table. A slot that the loader has not bound yet
/// leads to code that has it bound and goes on to the function: on x86-64 to code for this slot alone, on AArch64
/// to code for all slots of the object, which expects in x16 which it is.
///
/// # Safety
///
/// The address of a function of C, which may be called with these arguments.
pub(crate) unsafe fn three(function: usize, slot: *const usize, arguments: [usize; 3]) -> usize {
    let [a, b, c] = arguments;
    #[cfg(target_arch = "x86_64")]
    {
        let _ = slot;
        // SAFETY: the caller's contract.
        let function = unsafe {
            core::mem::transmute::<usize, unsafe extern "C" fn(usize, usize, usize) -> usize>(function)
        };
        // SAFETY: the caller's contract.
        unsafe { function(a, b, c) }
    }
    #[cfg(target_arch = "aarch64")]
    {
        let result;
        // SAFETY: the caller's contract; the registers are those of the procedure call standard, and x16, which any
        // call may change.
        unsafe {
            core::arch::asm!("blr {function}", function = in(reg) function, in("x16") slot,
                             inlateout("x0") a => result, in("x1") b, in("x2") c, clobber_abi("C"));
        }
        result
    }
}
