//! Panics are contained and silent: they end one server or one call, and a guest prints
//! nothing.

use std::cell::Cell;
use std::sync::Once;

thread_local! {
    static CONTAINED: Cell<u32> = const { Cell::new(0) };
}

/// While it lives, a panic of this thread will be caught by kvreg: it is not printed.
pub(crate) struct Contained(());

impl Contained {
    pub(crate) fn enter() -> Contained {
        let _ = CONTAINED.try_with(|depth| depth.set(depth.get() + 1));
        Contained(())
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        let _ = CONTAINED.try_with(|depth| depth.set(depth.get() - 1));
    }
}

/// Every panic of this thread will be caught: it is one of kvreg's own.
pub(crate) fn contain_thread() {
    std::mem::forget(Contained::enter());
}

/// Puts a hook before the one that is there (std's, or that of a Rust host which links kvreg
/// statically): it swallows the messages of contained panics and passes on all others.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let contained = CONTAINED.try_with(|depth| depth.get() > 0).unwrap_or(true);
            if !contained {
                previous(info);
            }
        }));
    });
}
