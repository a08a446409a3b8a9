//! Panics are contained and silent: they end one server or one call, and a guest prints
//! nothing.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    /// How many levels of calls catch the panics of this thread.
    static CONTAINED: Cell<u32> = const { Cell::new(0) };
    /// One of kvreg's own threads.
    static IS_OWN: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, whose panics kvreg catches: they are not printed. It must not unwind itself.
pub(crate) fn contain<R>(work: impl FnOnce() -> R) -> R {
    CONTAINED.with(|depth| {
        depth.set(depth.get() + 1);
        let answer = work();
        depth.set(depth.get() - 1);
        answer
    })
}

/// Every panic of this thread will be caught: it is one of kvreg's own.
pub(crate) fn contain_thread() {
    CONTAINED.set(CONTAINED.get() + 1);
    IS_OWN.set(true);
}

pub(crate) fn is_own_thread() -> bool {
    IS_OWN.get()
}

/// Puts a hook before the one that is there (std's, or that of a Rust host which links kvreg
/// statically): it swallows the messages of contained panics and passes on all others.
pub(crate) fn install_hook() {
    // Not `Once`: a fork in the middle of it would have the child wait for ever.
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    if INSTALLED.swap(true, Ordering::Relaxed) {
        return;
    }
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if CONTAINED.get() == 0 {
            previous(info);
        }
    }));
}
