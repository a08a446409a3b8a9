//! What the operating system is asked for beyond std.

/// Blocks all signals in the calling thread: the host's signals are the host's business.
#[cfg(unix)]
pub(crate) fn block_signals() {
    // SAFETY: `set` is written by sigfillset before it is read, and outlives both calls.
    unsafe {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(set.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
    }
}

#[cfg(not(unix))]
pub(crate) fn block_signals() {}
