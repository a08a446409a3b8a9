//! A barrier of two unequal halves: readers pass it millions of times, collectors seldom, so
//! the system is asked to make the readers' half free.
//!
//! On Linux `membarrier` has every running thread of the process pass a full barrier, on Windows
//! `FlushProcessWriteBuffers`: an interrupt at every processor that runs one of them. A thread that
//! does not run has passed one when it was switched out. Where there is neither (as under Miri),
//! both halves are full fences.

use std::sync::atomic::{compiler_fence, fence, AtomicBool, Ordering};

static IS_ASYMMETRIC: AtomicBool = AtomicBool::new(false);

/// Called when nothing is pinned yet: at first use, and in a forked child.
pub(crate) fn prepare() {
    IS_ASYMMETRIC.store(register(), Ordering::SeqCst);
}

/// The readers' half.
#[inline]
pub(crate) fn light() {
    if IS_ASYMMETRIC.load(Ordering::Relaxed) {
        compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// The collectors' half; `false` if the system refused it, so that nothing is known.
pub(crate) fn heavy() -> bool {
    fence(Ordering::SeqCst);
    let passed = !IS_ASYMMETRIC.load(Ordering::Relaxed)
        || barrier_of_all_threads()
        || register() && barrier_of_all_threads(); // who restored the process may have lost it
    fence(Ordering::SeqCst);
    passed
}

#[cfg(all(target_os = "linux", not(miri)))]
fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: takes numbers only.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

#[cfg(all(target_os = "linux", not(miri)))]
fn register() -> bool {
    membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
}

#[cfg(all(target_os = "linux", not(miri)))]
fn barrier_of_all_threads() -> bool {
    membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
}

/// Always there in Windows. Wine has had the function for long, but as one that does nothing.
#[cfg(windows)]
fn register() -> bool {
    use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleA, GetProcAddress};
    // SAFETY: names that end with NUL; ntdll is in every process, and is never unloaded.
    unsafe {
        let ntdll = GetModuleHandleA(c"ntdll.dll".as_ptr().cast());
        !ntdll.is_null() && GetProcAddress(ntdll, c"wine_get_version".as_ptr().cast()).is_none()
    }
}

#[cfg(windows)]
fn barrier_of_all_threads() -> bool {
    // SAFETY: takes nothing, and cannot fail.
    unsafe { windows_sys::Win32::System::Threading::FlushProcessWriteBuffers() };
    true
}

#[cfg(any(miri, not(any(target_os = "linux", windows))))]
fn register() -> bool {
    false
}

#[cfg(any(miri, not(any(target_os = "linux", windows))))]
fn barrier_of_all_threads() -> bool {
    false
}
