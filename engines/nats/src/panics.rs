//! Panics are faults of this engine or of its client. They end at the call that kvreg made, which
//! answers that, or with the task of the runtime; nothing is printed.
//!
//! # The argument
//!
//! The hook is that of the std which this library has: a shared object's own, or that of a Rust
//! program which links it. So it swallows what is said on threads that are within `contain` or are
//! the engine's own, and passes on all else.

use std::cell::Cell;
use std::panic::{catch_unwind, set_hook, take_hook, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    /// How many levels of `contain` this thread is in.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Runs `work`; `None` if it panicked.
pub(crate) fn contain<R>(work: impl FnOnce() -> R) -> Option<R> {
    DEPTH.set(DEPTH.get() + 1);
    let answer = catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get() - 1);
    answer.ok()
}

/// This thread is the engine's own: the runtime contains what panics on it.
pub(crate) fn is_own_thread() {
    DEPTH.set(1);
}

pub(crate) fn install_hook() {
    // Not `Once`: a child of a fork in the middle of it would wait for ever.
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    if INSTALLED.swap(true, Ordering::Relaxed) {
        return;
    }
    let previous = take_hook();
    set_hook(Box::new(move |info| {
        if DEPTH.get() == 0 {
            previous(info);
        }
    }));
}
