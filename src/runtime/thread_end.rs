//! Notices that a thread of the host's ends, so that nothing of it stays.
//!
//! # The argument
//!
//! A thread's end is a row of destructors: those of `thread_local` objects (C++, Rust), then those
//! of pthread keys, in up to four rounds, as long as some destructor sets a key again. All of them
//! may call the library, in any order with its own. So its own is that of a key: after all
//! `thread_local` objects, and once more in each round, for it sets its key again.
//!
//! The first notice takes back all that the thread keeps for its next call. From there on it keeps
//! nothing: what a call takes, it gives back before it returns (`may_keep`). Only an open update
//! lasts longer: it is left for a round, in which each destructor of the user's may end it, and
//! aborted by the next notice. None can be begun after the first, for nobody knows which notice is
//! the last: a thread whose first call of all comes from a destructor of a key has fewer.
//!
//! It has two at least if that call comes from the first two rounds. What remains: an update that
//! is left open by a thread whose first call comes from a later round is not aborted, and from the
//! last one the thread keeps its place among the readers for ever, some hundred bytes.
//!
//! Rust's own `thread_local!` with a destructor will not do: one that is first used by a destructor
//! of a key is never run, and what it was entered in is never freed.
//!
//! On Windows the destructors of Rust's thread-local storage are run by the loader, once, and then
//! the end of the thread is told to the libraries that were loaded before. So there is one notice.

use std::cell::Cell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicPtr, Ordering};

use super::{panic, platform};
use crate::sync::{Area, ThreadLocal};

/// What a part of the library has of each thread. The top says which parts there are.
pub(crate) struct PerThread {
    /// The thread's end will be noticed: it may keep something for its next call.
    pub(crate) open: fn(),
    /// In a forked child: what the thread has belongs to the parent.
    pub(crate) forget: fn(),
    /// The thread ends: gives back what it has. Called at each notice; `aborts` says that what is
    /// still open is to be ended now.
    pub(crate) end: fn(aborts: bool),
}

impl PerThread {
    /// One that has nothing to do.
    pub(crate) const NONE: PerThread = PerThread {
        open: || {},
        forget: || {},
        end: |_| {},
    };
}

/// In the order in which they are told.
pub(crate) type Parts = &'static [PerThread];

static PARTS: AtomicPtr<Parts> = AtomicPtr::new(std::ptr::null_mut());

/// Called before any thread has something.
pub(crate) fn set_parts(parts: &'static Parts) {
    PARTS.store(std::ptr::from_ref(parts).cast_mut(), Ordering::Release);
}

fn parts() -> Parts {
    // SAFETY: null, or static.
    let parts = unsafe { PARTS.load(Ordering::Acquire).as_ref() };
    parts.copied().unwrap_or_default()
}

/// The calling thread gives up what it had before a fork of its own.
pub(crate) fn forget_parent() {
    parts().iter().for_each(|part| (part.forget)());
}

/// How a thread's end is noticed.
struct Notices {
    is_watched: Cell<bool>,
    /// Until now.
    count: Cell<u8>,
    also: Cell<Option<fn()>>,
}

// SAFETY: not watched, and no notices; the area is its own.
unsafe impl ThreadLocal for Notices {
    const AREA: Area = Area::End;
}

/// Sees to it that `give_back` is called at the next notice of the calling thread's end: of who
/// has something in some threads only.
pub(crate) fn also(give_back: fn()) {
    Notices::own(|notices| notices.also.set(Some(give_back)));
}

/// Whether the calling thread may keep anything beyond a call: its end will be noticed, and has
/// not begun.
pub(crate) fn may_keep() -> bool {
    Notices::own(|notices| notices.count.get() == 0 && is_watched(notices, parts()))
}

fn is_watched(notices: &Notices, parts: Parts) -> bool {
    if notices.is_watched.get() {
        return true;
    }
    let is_watched = system::watch();
    // A thread may ask before there are parts: then they are opened when it asks again.
    if is_watched && !parts.is_empty() {
        notices.is_watched.set(true);
        parts.iter().for_each(|part| (part.open)());
    }
    is_watched
}

/// The thread ends: called by the system, perhaps more than once. Tells how often.
fn notice() -> u8 {
    if platform::is_ending() {
        return 0; // all of it goes with the process, and its locks may never be free again
    }
    let count = Notices::own(|notices| {
        let count = notices.count.get().saturating_add(1);
        notices.count.set(count);
        count
    });
    let aborts = count >= system::ABORTS;
    let give_back = || {
        catch_unwind(AssertUnwindSafe(|| {
            if let Some(give_back) = Notices::own(|notices| notices.also.take()) {
                give_back();
            }
            parts().iter().for_each(|part| (part.end)(aborts));
        }))
    };
    // Nothing in here panics; if it did, the user's thread must not learn of it.
    let _ = panic::contain(give_back);
    count
}

#[cfg(unix)]
mod system {
    use std::ffi::c_void;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// The notice that aborts what is open.
    pub(super) const ABORTS: u8 = 2;

    /// So many rounds systems have; POSIX allows more, as long as a key is set. In the last one
    /// ThreadSanitizer takes down what it knows of the thread, and that before this key's turn:
    /// with it there are no more notices than it takes to abort what is open.
    const ROUNDS: u8 = if cfg!(kvreg_tsan) { ABORTS } else { 4 };

    /// One more than the key; 0 if there is none yet.
    static KEY: AtomicU64 = AtomicU64::new(0);

    /// `false` if the system has no more keys, or no memory for the thread's values.
    pub(super) fn watch() -> bool {
        let key = KEY.load(Ordering::Acquire);
        match key {
            0 => make_key().is_some_and(arm),
            key => arm(key),
        }
    }

    fn make_key() -> Option<u64> {
        let mut made = 0;
        // SAFETY: an output, and a function that stays as long as the library, which is never
        // unloaded once it was used.
        if unsafe { libc::pthread_key_create(&mut made, Some(ends)) } != 0 {
            return None;
        }
        let ours = u64::from(made) + 1;
        match KEY.compare_exchange(0, ours, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(ours),
            Err(faster) => {
                // SAFETY: made just now, and no thread has a value for it.
                unsafe { libc::pthread_key_delete(made) };
                Some(faster)
            }
        }
    }

    fn arm(key: u64) -> bool {
        // SAFETY: a key that is never deleted; the value only has to be none.
        unsafe {
            libc::pthread_setspecific((key - 1) as libc::pthread_key_t, (&raw const KEY).cast())
                == 0
        }
    }

    unsafe extern "C" fn ends(_value: *mut c_void) {
        if super::notice() < ROUNDS {
            arm(KEY.load(Ordering::Acquire));
        }
    }
}

#[cfg(not(unix))]
mod system {
    /// There is but one.
    pub(super) const ABORTS: u8 = 1;

    struct ThreadEnd;

    impl Drop for ThreadEnd {
        fn drop(&mut self) {
            super::notice();
        }
    }

    thread_local! {
        static END: ThreadEnd = const { ThreadEnd };
    }

    /// Refused if the thread's storage is being taken down.
    pub(super) fn watch() -> bool {
        END.try_with(|_| ()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static OPENED: Cell<u32> = const { Cell::new(0) };
    }

    const PARTS: Parts = &[PerThread {
        open: || OPENED.set(OPENED.get() + 1),
        ..PerThread::NONE
    }];

    /// As of a thread whose first call fails before anything was started.
    #[test]
    fn parts_that_come_later_are_opened_once() {
        let notices = Notices {
            is_watched: Cell::new(false),
            count: Cell::new(0),
            also: Cell::new(None),
        };
        assert!(is_watched(&notices, &[]));
        assert_eq!(OPENED.get(), 0);
        assert!(is_watched(&notices, PARTS));
        assert!(is_watched(&notices, PARTS));
        assert_eq!(OPENED.get(), 1);
    }
}
