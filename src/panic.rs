//! Panics are contained and silent: they end one server or one call, and a guest prints
//! nothing.

use std::cell::Cell;
use std::sync::Once;

thread_local! {
    static CONTAINED: Cell<u32> = const { Cell::new(0) };
}

/// Runs `work`, whose panics kvreg catches: they are not printed. It must not unwind itself.
pub(crate) fn contain<R>(work: impl FnOnce() -> R) -> R {
    // One look at the thread's storage for both changes: this is on the way of every call.
    CONTAINED.with(|depth| {
        depth.set(depth.get() + 1);
        let answer = work();
        depth.set(depth.get() - 1);
        answer
    })
}

/// Every panic of this thread will be caught: it is one of kvreg's own.
pub(crate) fn contain_thread() {
    CONTAINED.with(|depth| depth.set(depth.get() + 1));
}

/// Puts a hook before the one that is there (std's, or that of a Rust host which links kvreg
/// statically): it swallows the messages of contained panics and passes on all others.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let contained = CONTAINED.with(|depth| depth.get() > 0);
            if !contained {
                previous(info);
            }
        }));
    });
}
