//! What the operating system is asked for beyond std. Miri knows neither masks of signals nor
//! cancelled threads, and runs no program that has either.

/// Runs `work` with all signals blocked: a thread that it starts blocks them for good. The host's
/// signals are the host's business.
#[cfg(all(unix, not(miri)))]
pub(crate) fn with_signals_blocked<R>(work: impl FnOnce() -> R) -> R {
    use std::mem::MaybeUninit;
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are written before they are read, and outlive the calls.
    unsafe {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let done = work();
    // SAFETY: as above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    done
}

#[cfg(any(not(unix), miri))]
pub(crate) fn with_signals_blocked<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// Runs `work`, in which `pthread_cancel` must not end the calling thread: it waits for the host's
/// own next cancellation point. For what asks the system for something, which is where threads are
/// cancelled: that would abort the process, for the thread would unwind through Rust.
#[cfg(all(unix, not(miri)))]
#[inline(always)] // a callback's caller lies on the stack once for each turn that is held
pub(crate) fn uncancelled<R>(work: impl FnOnce() -> R) -> R {
    struct Uncancelled(c_int);

    impl Drop for Uncancelled {
        fn drop(&mut self) {
            // SAFETY: a state that it was in; the old one is not wanted, but musl writes it.
            unsafe { pthread_setcancelstate(self.0, &mut 0) };
        }
    }

    use std::ffi::c_int;
    extern "C" {
        fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
    }
    const DISABLE: c_int = if cfg!(target_os = "macos") { 0 } else { 1 };

    let mut before = 0;
    // SAFETY: `before` may be written.
    unsafe { pthread_setcancelstate(DISABLE, &mut before) };
    let _restored = Uncancelled(before);
    work()
}

#[cfg(any(not(unix), miri))]
pub(crate) fn uncancelled<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// What fails from here on is told by [`last_is_no_memory`].
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn forget_error() {
    // SAFETY: the calling thread's own.
    unsafe { *libc::__errno_location() = 0 };
}

#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) fn forget_error() {}

/// Whether the last thing that failed on this thread did so for want of memory.
pub(crate) fn last_is_no_memory() -> bool {
    let last = std::io::Error::last_os_error();
    cfg!(target_os = "linux") && last.kind() == std::io::ErrorKind::OutOfMemory
}

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

/// Whether the loader is just telling the calling thread something, that it ends for instance: until
/// the thread has returned, no other begins or is quite gone, so it must wait for none to do so.
///
/// Whoever is told holds the loader's lock, which the process says the place of.
#[cfg(windows)]
pub(crate) fn is_told_by_loader() -> bool {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use windows_sys::Win32::System::Threading::GetCurrentThreadId;

    #[link(name = "ntdll")]
    extern "system" {
        /// What the process has one of.
        fn RtlGetCurrentPeb() -> *const u8;
    }
    /// A `CRITICAL_SECTION`.
    #[repr(C)]
    struct Lock {
        debug: *const u8,
        counts: [i32; 2],
        owner: AtomicUsize,
    }
    /// Where that place is said: as ever since there are 64 bits.
    const LOADER_LOCK: usize = 0x110;

    // SAFETY: the process has the lock to its end, and never moves it.
    let lock = unsafe { &**RtlGetCurrentPeb().add(LOADER_LOCK).cast::<*const Lock>() };
    // SAFETY: it has no conditions.
    let thread = unsafe { GetCurrentThreadId() };
    // Nobody but a thread itself enters or takes out its number.
    lock.owner.load(Ordering::Relaxed) == thread as usize
}

/// Elsewhere threads begin while others end.
#[cfg(not(windows))]
#[inline]
pub(crate) fn is_told_by_loader() -> bool {
    false
}
