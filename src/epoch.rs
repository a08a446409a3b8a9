//! Reading what others may replace: a pinned thread can follow the pointers it finds, and
//! what is taken out meanwhile is freed when no thread is pinned that may have seen it.
//!
//! A thread never sleeps and never runs user code while it is pinned.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

pub(crate) use crossbeam_epoch::{pin, Guard};

/// How often freeing is tried before it is left to later pins.
const ATTEMPTS: usize = 64;

thread_local! {
    static LARGE: Cell<bool> = const { Cell::new(false) };
}

/// Notes that the calling thread has retired something large.
pub(crate) fn note_large() {
    LARGE.set(true);
}

/// Frees what the calling thread has retired if any of it was large: that must not wait for
/// chance. Called where the thread is not pinned and holds no turn. It takes two steps of the
/// epoch, and each needs every pinned thread to have pinned anew; so it yields between tries,
/// and gives up in the end.
pub(crate) fn tidy() {
    if !LARGE
        .try_with(|large| large.replace(false))
        .unwrap_or(false)
    {
        return;
    }
    LARGE.set(false);
    let last = Arc::new(AtomicBool::new(false));
    let retired = Arc::clone(&last);
    // Bags are freed in order, so when this one runs, all before it have run.
    pin().defer(move || retired.store(true, Ordering::Relaxed));
    for attempt in 0..ATTEMPTS {
        pin().flush();
        if last.load(Ordering::Relaxed) {
            return;
        }
        if attempt > 3 {
            std::thread::yield_now();
        }
    }
}
