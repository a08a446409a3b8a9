//! The model checker's primitives, under the names that the server core uses. `Arc` stays
//! std's: the core relies on no more than what counting references gives.

pub(crate) use loom::sync::atomic::{
    fence, AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use loom::thread::{yield_now, LocalKey};
pub(crate) use std::sync::{Arc, PoisonError, Weak};

/// As std's, of which the checker's knows no constants.
macro_rules! model_thread_local {
    (static $name:ident: $type:ty = const $value:block;) => {
        loom::thread_local! { static $name: $type = $value; }
    };
}
pub(crate) use model_thread_local as thread_local;

#[path = "../../../src/sync/raw_arc.rs"]
pub(crate) mod raw_arc;

/// The library's own lasts as long as the thread; here what is last to go finds an empty one.
pub(crate) fn with_thread_local<T: Default, R>(
    key: &'static LocalKey<T>,
    look: impl FnOnce(&T) -> R,
) -> R {
    let mut look = Some(look);
    let done = key.try_with(|own| look.take().map(|look| look(own)));
    match (done, look) {
        (Ok(Some(answer)), _) => answer,
        (_, Some(look)) => look(&T::default()),
        _ => unreachable!("it was run"),
    }
}

/// As in the library: the checker knows what fences order.
pub(crate) const ACQUIRED_BY_FENCE: Ordering = Ordering::Relaxed;

/// A spin is a wait that the checker would have to try in every length.
pub(crate) const SPINS: u32 = 0;

pub(crate) fn spin() {
    loom::thread::yield_now();
}

pub(crate) fn back_off(_step: u32) {
    spin();
}

pub(crate) fn will_read<T>(_place: *const T) {}

pub(crate) fn will_write<T>(_place: *const T) {}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
