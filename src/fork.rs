//! After `fork` (G11): the child has one thread, the one that forked, and everything the
//! library had belongs to threads that are not there.
//!
//! The handler that runs in the child takes no lock: it puts the parent's [`Process`] aside by
//! one store, to be asked later which handles it had, and has the one thread forget what it
//! held. From then on the parent's objects are looked at through atomics only, or not at all:
//! a callback that forked comes back to a turn that does nothing any more (`server::Turn`),
//! and a destructor of the user's that forked leaves by unwinding up to the boundary, for the
//! code after it would take the parent's locks. A thread of the parent's runtime has nowhere
//! to come back to in the child: it ends the child, as a thread that returns would.
//!
//! On Windows no process forks, and nothing here ever happens.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::process::Process;
use crate::thread::Thread;

/// How many forks lie between this process and the one that loaded the library.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// Told apart by the boundary: a call that began before a fork ends after it.
pub(crate) fn count() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Called once the library has something to lose.
pub(crate) fn watch() {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.load(Ordering::Acquire) {
        return;
    }
    // Perhaps by two threads at once: to be called twice does no harm.
    // SAFETY: the handler only stores to atomics and to its thread's own storage. Where there
    // is no memory for it, forks go unnoticed.
    #[cfg(unix)]
    unsafe {
        libc::pthread_atfork(None, None, Some(child));
    }
    WATCHED.store(true, Ordering::Release);
}

#[cfg_attr(not(unix), allow(dead_code))]
unsafe extern "C" fn child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    Process::put_aside();
    crate::epoch::begin_anew();
    crate::local::with(|local| local.thread.begin_anew());
}

/// Called after user code that the caller of the calling code cannot know of, with the process
/// its objects belong to and no lock held.
pub(crate) fn leave_if_forked(process: &Process) {
    if process.is_current() {
        return;
    }
    leave_own_thread();
    std::panic::resume_unwind(Box::new("forked in a destructor"));
}

/// Ends the child if the calling thread was one of the parent's runtime.
pub(crate) fn leave_own_thread() {
    if crate::panic::is_own_thread() && Thread::has_begun_anew() {
        // SAFETY: as if this thread, the last one, had returned.
        unsafe { libc::exit(0) }
    }
}
