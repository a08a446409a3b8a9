//! After a fork (G11): the child has one thread, the one that forked, and everything the
//! library had belongs to threads that are not there.
//!
//! # The argument
//!
//! `_Fork`, and the system call itself, run no handlers, and after `fork` a handler of the user's
//! may run before kvreg's. So the child finds out by itself: the pointer to the present
//! [`Process`] lies in a page ([`CURRENT`]) that the kernel empties for the child. Whoever calls
//! finds it null, looks, and puts the parent's `Process` aside, to be asked later which handles it
//! had ([`Process::if_any`]). A call in progress finds the same when it comes back from the user
//! code that forked, for it asks whether its process is the current one. What each thread keeps
//! for itself names the process that it belongs to (`epoch::Pins`), and is forgotten when that is
//! another one.
//!
//! All that takes no lock and allocates nothing. From then on the parent's objects are looked at
//! through atomics only, or not at all: a callback that forked comes back to a turn that does
//! nothing any more (`server::Turn`), and a destructor of the user's that forked leaves by
//! unwinding up to the boundary, for the code after it would take the parent's locks. A thread of
//! the parent's runtime has nowhere to come back to in the child: it ends the child, as a thread
//! that returns would.
//!
//! A system that does not empty the page is asked for the process's number instead, at each call.
//! Outside Linux forks are noticed by a handler only. On Windows no process forks.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use crate::process::Process;

/// Pages are not larger where the system is asked to empty one.
const PAGE: usize = if cfg!(all(target_os = "linux", target_arch = "aarch64")) {
    64 << 10
} else {
    4 << 10
};

/// A page of its own, which a forked child finds empty.
#[cfg_attr(
    all(target_os = "linux", target_arch = "aarch64"),
    repr(C, align(65536))
)]
#[cfg_attr(
    not(all(target_os = "linux", target_arch = "aarch64")),
    repr(C, align(4096))
)]
pub(crate) struct Page {
    process: AtomicPtr<Process>,
    /// Set before there is a process: so that a null pointer that was just not set yet is told
    /// from one that was taken away.
    is_marked: AtomicBool,
}

const _: () = assert!(size_of::<Page>() == PAGE && align_of::<Page>() == PAGE);

/// The present process, where its children do not see it. Null says only that it is to be
/// looked for.
pub(crate) static CURRENT: Page = Page {
    process: AtomicPtr::new(ptr::null_mut()),
    is_marked: AtomicBool::new(false),
};

/// The system empties the page.
static IS_EMPTIED: AtomicBool = AtomicBool::new(false);

impl Page {
    #[inline(always)]
    pub(crate) fn get(&self) -> *mut Process {
        self.process.load(Ordering::Acquire)
    }

    /// Once for each process.
    pub(crate) fn set(&self, process: *mut Process) {
        if IS_EMPTIED.load(Ordering::Relaxed) || !cfg!(target_os = "linux") {
            self.process.store(process, Ordering::Release);
        }
    }

    /// Sees to it that it is no longer this one.
    pub(crate) fn take_back(&self, process: *mut Process) {
        let null = ptr::null_mut();
        let (taken, other) = (Ordering::AcqRel, Ordering::Relaxed);
        let _ = self.process.compare_exchange(process, null, taken, other);
    }
}

/// Whether the system will empty the page from now on.
#[cfg(target_os = "linux")]
fn have_emptied(page: &'static Page) -> bool {
    let address = ptr::from_ref(page).cast_mut().cast();
    // Some emulators take any advice, and follow none: they take this one too.
    const NO_ADVICE: libc::c_int = -1;
    // SAFETY: a page of ours, whole. The advice concerns a child's memory only.
    unsafe {
        libc::madvise(address, PAGE, NO_ADVICE) != 0
            && libc::madvise(address, PAGE, libc::MADV_WIPEONFORK) == 0
    }
}

#[cfg(not(target_os = "linux"))]
fn have_emptied(_page: &'static Page) -> bool {
    false
}

/// Called before a process is made: perhaps by two threads at once, which does no harm.
pub(crate) fn watch() {
    static IS_WATCHED: AtomicBool = AtomicBool::new(false);
    if !IS_WATCHED.load(Ordering::Acquire) {
        IS_EMPTIED.store(have_emptied(&CURRENT), Ordering::Relaxed);
        // SAFETY: the handler only stores to atomics and to its thread's own storage. Where
        // there is no memory for it, it is missed outside Linux only.
        #[cfg(unix)]
        unsafe {
            libc::pthread_atfork(None, None, Some(child));
        }
        IS_WATCHED.store(true, Ordering::Release);
    }
    CURRENT.is_marked.store(true, Ordering::Release);
}

/// Whether this is a child of the process that had this number.
pub(crate) fn has_forked_since(number: u32) -> bool {
    let was_emptied =
        IS_EMPTIED.load(Ordering::Relaxed) && !CURRENT.is_marked.load(Ordering::Acquire);
    // The number too: another thread of the child may have begun anew meanwhile.
    was_emptied || number != std::process::id()
}

#[cfg(unix)]
unsafe extern "C" fn child() {
    Process::notice_fork();
}

/// The calling thread lets go of what it had before a fork of its own.
pub(crate) fn begin_anew() {
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

/// Ends the child, of which the calling thread is one of the parent's runtime.
fn leave_own_thread() {
    if crate::panic::is_own_thread() {
        // SAFETY: as if this thread, the last one, had returned.
        unsafe { libc::exit(0) }
    }
}
