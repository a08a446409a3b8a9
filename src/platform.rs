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

/// Called before the library starts what needs its code to the end of the process: threads, and
/// destructors of thread-local storage in the host's threads. From then on `FreeLibrary` leaves
/// it where it is. Elsewhere the linker has seen to that (`build.rs`).
#[cfg(windows)]
pub(crate) fn stay_loaded() {
    use windows_sys::Win32::System::LibraryLoader::{
        GetModuleHandleExW, GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_PIN,
    };
    static OURS: u8 = 0;
    let mut module = std::ptr::null_mut();
    // SAFETY: the address of a static tells which module is meant, whether that is the DLL or
    // a program that links kvreg statically; it is not read. `module` may be written.
    unsafe {
        GetModuleHandleExW(
            GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
            (&raw const OURS).cast(),
            &mut module,
        );
    }
}

#[cfg(not(windows))]
pub(crate) fn stay_loaded() {}

/// Whether the process ends and the calling thread is the only one left. Windows kills the
/// others wherever they are, and only then tells the libraries: what those held, locks above
/// all, is never given back. So whoever is called from there must not wait for anybody.
#[cfg(windows)]
#[inline]
pub(crate) fn is_ending() -> bool {
    #[link(name = "ntdll")]
    extern "system" {
        fn RtlDllShutdownInProgress() -> u8;
    }
    // SAFETY: it only reads a flag of the loader's.
    unsafe { RtlDllShutdownInProgress() != 0 }
}

/// Elsewhere the other threads run on until the process is gone.
#[cfg(not(windows))]
#[inline]
pub(crate) fn is_ending() -> bool {
    false
}
