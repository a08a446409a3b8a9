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

/// Past Rust's own lock on stderr, which a forked child may find taken. What cannot be written
/// is lost.
#[cfg(unix)]
pub(crate) fn write_to_stderr(line: &[u8]) {
    // SAFETY: so many readable bytes.
    unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
}

#[cfg(not(unix))]
pub(crate) fn write_to_stderr(line: &[u8]) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line);
}
