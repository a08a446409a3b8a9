//! Panics are contained and silent: they end one server or one call, and a guest prints
//! nothing.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sync::{Area, ThreadLocal};

struct Panics {
    /// How many levels of calls catch the panics of this thread.
    contained: Cell<u32>,
    /// One of kvreg's own threads.
    is_own: Cell<bool>,
}

// SAFETY: nothing is contained, and it is the host's thread; the area is its own.
unsafe impl ThreadLocal for Panics {
    const AREA: Area = Area::Panics;
}

/// Runs `work`, whose panics kvreg catches: they are not printed. It must not unwind itself.
pub(crate) fn contain<R>(work: impl FnOnce() -> R) -> R {
    Panics::own(|panics| {
        let depth = &panics.contained;
        depth.set(depth.get() + 1);
        let answer = work();
        depth.set(depth.get() - 1);
        answer
    })
}

/// Every panic of this thread will be caught: it is one of kvreg's own.
pub(crate) fn contain_thread() {
    Panics::own(|panics| {
        panics.contained.set(panics.contained.get() + 1);
        panics.is_own.set(true);
    });
}

pub(crate) fn is_own_thread() -> bool {
    Panics::own(|panics| panics.is_own.get())
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
        if Panics::own(|panics| panics.contained.get()) == 0 {
            previous(info);
        }
    }));
}
