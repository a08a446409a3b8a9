//! Reading what others may replace: a pinned thread can follow the pointers it finds, and
//! what is taken out meanwhile is freed when no thread is pinned that may have seen it.
//!
//! A thread never sleeps and never runs user code while it is pinned. The epoch belongs to the
//! [`Process`]: in a forked child the parent's threads would stay pinned for ever.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use crossbeam_epoch::LocalHandle;
pub(crate) use crossbeam_epoch::{Collector, Guard};

use crate::process::Process;

/// How often freeing is tried before it is left to later pins.
const ATTEMPTS: usize = 64;

thread_local! {
    static LARGE: Cell<bool> = const { Cell::new(false) };
    static LOCAL: RefCell<Option<LocalHandle>> = const { RefCell::new(None) };
}

pub(crate) fn pin() -> Guard {
    let pinned = LOCAL.try_with(|local| local.borrow().as_ref().map(LocalHandle::pin));
    match pinned {
        Ok(Some(guard)) => guard,
        _ => register(),
    }
}

/// For a thread that has not pinned yet, or whose storage is gone because it ends.
#[cold]
fn register() -> Guard {
    let local = Process::current().collector().register();
    let guard = local.pin();
    let _ = LOCAL.try_with(|place| *place.borrow_mut() = Some(local));
    guard
}

/// In a forked child: the calling thread has pinned nothing yet.
pub(crate) fn begin_anew() {
    let _ = LOCAL.try_with(|local| std::mem::forget(local.take()));
    LARGE.set(false);
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
